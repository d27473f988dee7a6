"""Spans of the uses of a database: whose children they are, what they say, and what they do not."""

import secrets
from collections.abc import Callable
from functools import partial

import httpx2
import pytest

from servicekit.database import sql
from servicekit.database.commit import repeat_until_known
from servicekit.tracing.queries import summary_of
from tests.access.conftest import make_key, make_project
from tests.database import rows
from tests.servers import Product
from tests.tracing.collector import Collector
from tests.tracing.conftest import EVENT, PRIVATE, PUBLIC, Caller

KNOWN = {"db.system.name", "db.namespace", "db.query.summary", "db.operation.name", "server.address", "error.type"}


def test_a_question_has_its_queries_as_children(product: Product, public: httpx2.Client, collector: Collector) -> None:
    caller = Caller()
    key = make_key(product, make_project(product), "read")
    asked = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
    public.get("/Log/auth/timeseries", params=asked, headers=caller.headers | {"X-API-Key": key}).raise_for_status()
    spans = collector.wait_for(2, trace_id=caller.trace_id, queries=True)
    assert {"access.queries.keys", "auth_events.queries.series"} <= {each.name for each in spans}, spans
    for span in spans:
        assert (span.parent_id, span.service, span.is_client) == (caller.span_id, PUBLIC, True)
        assert span.attributes == {
            "db.system.name": "postgresql",
            "db.namespace": product.public.env["DB_NAME"],
            "db.query.summary": span.name,
            "db.operation.name": "SELECT",
            "server.address": product.public.env["DB_HOST"],
        }
    assert key not in repr(spans)


def test_a_transaction_is_a_child_of_its_batch(public: httpx2.Client, collector: Collector) -> None:
    caller = Caller()
    public.post("/Log/auth/batch", json=[EVENT] * 3, headers=caller.headers).raise_for_status()
    [recorded] = [
        each for each in collector.wait_for(2, trace_id=caller.trace_id) if each.name.startswith("record a batch")
    ]
    [query] = collector.wait_for(1, trace_id=caller.trace_id, service=PRIVATE, queries=True)
    assert query.parent_id == recorded.span_id
    assert query.name == "events.batches.record_batch"
    assert "db.operation.name" not in query.attributes  # there are several
    assert set(query.attributes) <= KNOWN


def test_a_transaction_is_a_child_of_its_flush(public: httpx2.Client, collector: Collector) -> None:
    caller = Caller()
    public.post("/Log/auth", json=EVENT, headers=caller.headers).raise_for_status()
    [flush] = collector.wait_for(1, trace_id=caller.trace_id)
    [query] = collector.wait_for(1, trace_id=flush.trace_id, queries=True)
    [recorded] = [each for each in collector.wait_for(2, trace_id=flush.trace_id) if each.service == PRIVATE]
    assert (query.service, query.parent_id) == (PRIVATE, recorded.span_id)
    assert query.name == "events.recording.record"


def test_a_name_of_somebody_is_in_no_span(product: Product, public: httpx2.Client, collector: Collector) -> None:
    caller, name = Caller(), f"somebody-{secrets.token_hex(8)}@example.com"
    answer = public.post(
        "/api/v1/auth/login", json={"email": name, "password": secrets.token_hex(16)}, headers=caller.headers
    )
    assert answer.is_client_error or answer.status_code == 503
    key = make_key(product, make_project(product), "read")
    public.get(f"/api/v1/devices/{name}", headers=caller.headers | {"X-API-Key": key})
    assert collector.wait_for(1, trace_id=caller.trace_id, queries=True)
    assert name not in repr(collector.spans)


def test_a_query_that_fails_says_so_with_a_code(product: Product, public: httpx2.Client, collector: Collector) -> None:
    caller = Caller()
    rows(product.database, "ALTER SCHEMA stats RENAME TO other")
    try:
        assert public.get("/Log/auth/users", headers=caller.headers).status_code == 503
    finally:
        rows(product.database, "ALTER SCHEMA other RENAME TO stats")
    [failed] = collector.wait_for(1, trace_id=caller.trace_id, queries=True)
    assert failed.has_failed
    assert failed.attributes["error.type"] == "not-recorded"


@pytest.mark.parametrize("path", ["/Log/auth/users", "/readyz"])
def test_queries_of_nobody_who_samples_are_not_recorded(public: httpx2.Client, collector: Collector, path: str) -> None:
    sampled_question(public, collector)
    before = [each.span_id for each in collector.spans]
    public.get(path).raise_for_status()
    public.get(path, headers=Caller("00").headers).raise_for_status()
    seen = sampled_question(public, collector)
    since = [each for each in collector.spans if each.span_id not in before and each.service == PUBLIC]
    assert {each.trace_id for each in since} == {seen}


def sampled_question(public: httpx2.Client, collector: Collector) -> str:
    """Ask one, and wait for its spans, before which all earlier ones of that service have come; its trace."""
    caller = Caller()
    public.get("/Log/auth/users", headers=caller.headers).raise_for_status()
    collector.wait_for(1, trace_id=caller.trace_id, queries=True)
    return caller.trace_id


def outer(_: object = None) -> Callable[[], None]:
    def work() -> None:
        raise AssertionError

    return work


class _Work:
    def __call__(self, _: object) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (sql.execute, "database.sql.execute"),
        (partial(sql.execute, statement="a value"), "database.sql.execute"),
        (partial(repeat_until_known, attempt=partial(sql.execute, statement="a value")), "database.sql.execute"),
        (outer(), ".outer"),
        (_Work(), "._Work"),
        (partial(_Work(), "a value"), "._Work"),
    ],
    ids=["a function", "a part of it", "what repeats it", "a nested function", "an object", "a part of an object"],
)
def test_a_name_is_that_of_the_function_that_has_the_statements(work: object, name: str) -> None:
    assert summary_of(work).endswith(name)
    assert "value" not in summary_of(work)
