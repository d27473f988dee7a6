"""Traces of both services as a collector gets them: one span a flush, and what happens while nobody collects."""

import asyncio
import subprocess
import sys
from contextlib import ExitStack

import httpx2
import pytest

from local.services import ROOT
from tests.servers import Product, StartProduct
from tests.tracing.collector import Collector, Received, collecting
from tests.tracing.conftest import EVENT, PRIVATE, PUBLIC, SETTINGS, Caller
from tests.waiting import wait_until

CLIENTS = 60


def children_of(spans: list[Received], parent: Received) -> list[Received]:
    return [each for each in spans if (each.trace_id, each.parent_id) == (parent.trace_id, parent.span_id)]


async def test_a_flush_is_one_span_that_links_to_each_sampled_request(product: Product, collector: Collector) -> None:
    callers = [Caller() for _ in range(CLIENTS)]
    unsampled = [Caller("00") for _ in range(CLIENTS // 4)]
    async with httpx2.AsyncClient(base_url=product.public_url, trust_env=False) as client:

        async def post(number: int, headers: dict[str, str]) -> None:
            # Every other one takes the long way, through the framework.
            own = headers | ({"Origin": "https://a.example"} if number % 2 else {})
            (await client.post("/Log/auth", json=EVENT, headers=own)).raise_for_status()

        await asyncio.gather(*(post(number, each.headers) for number, each in enumerate([*callers, *unsampled])))
    for caller in callers:
        await asyncio.to_thread(collector.wait_for, 1, trace_id=caller.trace_id)
    flushes = [each for each in collector.spans if each.name == "forward auth_events"]
    linked = [link for flush in flushes for link in flush.links]
    assert sorted(linked) == sorted((each.trace_id, each.span_id) for each in callers)
    assert 0 < len(flushes) < CLIENTS
    assert {flush.parent_id for flush in flushes} == {""}
    events = [flush.attributes["device_statistics.events"] for flush in flushes]
    assert len(callers) <= sum(map(int, events)) <= len(callers) + len(unsampled)
    for flush in flushes:
        [public, private] = await asyncio.to_thread(collector.wait_for, 2, trace_id=flush.trace_id)
        if public.service == PRIVATE:
            public, private = private, public
        assert (public, private.service, private.name) == (flush, PRIVATE, "record auth_events")
        assert private.parent_id == flush.span_id
        assert private.attributes == flush.attributes
        assert (private.has_failed, flush.has_failed) == (False, False)
    # Nothing that a client has sent is in a span, but for its ids.
    assert "somebody" not in repr(collector.spans)


def test_a_batch_belongs_to_the_trace_of_its_request(
    product: Product, public: httpx2.Client, collector: Collector
) -> None:
    caller = Caller()
    public.post("/Log/auth/batch", json=[EVENT] * 3, headers=caller.headers).raise_for_status()
    spans = collector.wait_for(2, trace_id=caller.trace_id)
    [forwarded] = [each for each in spans if each.parent_id == caller.span_id]
    [recorded] = children_of(spans, forwarded)
    assert (forwarded.service, forwarded.name) == (PUBLIC, "forward a batch of auth_events")
    assert (recorded.service, recorded.name) == (PRIVATE, "record a batch of auth_events")
    assert recorded.attributes == {"device_statistics.events": 3}
    for span, service in ((forwarded, product.public), (recorded, product.private)):
        assert span.resource["team"] == "shop"
        assert span.resource["service.version"]
        assert span.resource["service.instance.id"].endswith(f"-{service.pid}")


@pytest.mark.parametrize(
    "traceparent", ["x", "00-0-0-01", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'1' * 32}-{'1' * 16}-01"]
)
def test_a_malformed_context_is_as_none(public: httpx2.Client, collector: Collector, traceparent: str) -> None:
    before = len(collector.spans)
    for path, body in (("/Log/auth", EVENT), ("/Log/auth/batch", [EVENT])):
        public.post(path, json=body, headers={"traceparent": traceparent}).raise_for_status()
    caller = Caller()
    public.post("/Log/auth/batch", json=[EVENT], headers=caller.headers).raise_for_status()
    collector.wait_for(2, trace_id=caller.trace_id)
    assert {each.trace_id for each in collector.spans[before:]} == {caller.trace_id}


def test_a_flush_that_fails_says_so_with_a_code(product: Product, public: httpx2.Client, collector: Collector) -> None:
    one, many = Caller(), Caller()
    product.private.stop()
    try:
        assert public.post("/Log/auth", json=EVENT, headers=one.headers).status_code == 503
        assert public.post("/Log/auth/batch", json=[EVENT], headers=many.headers).status_code == 503
    finally:
        product.private.start()
        product.private.wait_ready()
    for caller in (one, many):
        [failed] = collector.wait_for(1, trace_id=caller.trace_id)
        assert failed.has_failed
        assert failed.attributes["error.type"] == "not-recorded"


def test_a_share_of_what_nobody_has_sampled_is_recorded(
    start_product: StartProduct, collected: tuple[Collector, str]
) -> None:
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collected[1]}/", "OTEL_TRACES_SAMPLER_ARG": "1"}
    product = start_product(env=SETTINGS | own | {"OTEL_SERVICE_NAME": "all"})
    for _ in range(3):
        httpx2.post(f"{product.public_url}/Log/auth", json=EVENT, trust_env=False).raise_for_status()
    names = [each.name for each in collected[0].wait_for(6, service="all")]
    assert sorted(names) == ["forward auth_events"] * 3 + ["record auth_events"] * 3
    of_transactions = [each.name for each in collected[0].wait_for(3, service="all", queries=True)]
    assert of_transactions.count("events.recording.record") == 3


def lines_about_the_collector(product: Product) -> list[str]:
    assert product.public.log is not None
    return [each for each in product.public.log.read_text().splitlines() if "collector of traces" in each]


def test_a_collector_that_is_away_costs_spans_and_one_line(start_product: StartProduct) -> None:
    with collecting() as (_, address):
        pass  # nobody listens on its port now
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_TRACES_SAMPLER_ARG": "1"}
    product = start_product(
        env=SETTINGS | own | {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
    )
    with ExitStack() as undo:
        client = undo.enter_context(httpx2.Client(base_url=product.public_url, trust_env=False))

        def post() -> None:
            client.post("/Log/auth", json=EVENT).raise_for_status()

        def post_until_the_log_has(number: int) -> None:
            def has_them() -> bool:
                post()
                return len(lines_about_the_collector(product)) >= number

            wait_until(has_them)

        post_until_the_log_has(1)
        for _ in range(50):
            post()
        assert len(lines_about_the_collector(product)) == 1
        collector, _ = undo.enter_context(collecting(int(address.rpartition(":")[2])))
        post_until_the_log_has(2)
        assert "takes spans again" in lines_about_the_collector(product)[1]
        post()
        assert collector.wait_for(1, service=PUBLIC)
        assert "opentelemetry" not in product.public.log.read_text() if product.public.log else True


def test_without_a_collector_nothing_of_the_sdk_is_imported() -> None:
    program = """
import sys
from statistics_api import app as public
from device_registration_api import app as private
public.create_app, private.create_app
of_the_sdk = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf")
sys.exit(" ".join(each for each in sys.modules if each.startswith(of_the_sdk)) or 0)
"""
    paths = [ROOT / "statistics-api", ROOT / "device-registration-api"]
    env = {"PYTHONPATH": ":".join(map(str, paths))}
    ended = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
