"""What both services show while they serve, by scrapes of their own ports."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from local.services import Service
from servicekit.metrics.http import CLIENT_DURATION, SERVER_DURATION
from tests.auth_events.payloads import event
from tests.metrics.scraping import samples, scrape, value
from tests.servers import Product, StartProduct
from tests.waiting import wait_until

NAMESPACE = "device_statistics"
REQUESTS = f"{SERVER_DURATION.name}_count"
EVENTS = f"{NAMESPACE}_events_total"
POSTS = {"http_request_method": "POST", "http_route": "/Log/auth", "http_response_status_code": "200"}
PROCESSES = f"{NAMESPACE}_build_info"


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    return start_product(public_workers=2, metrics=True)


def workers_of(service: Service) -> list[int]:
    """Those that serve: the parent has one more child, which tracks resources."""
    children = Path(f"/proc/{service.pid}/task/{service.pid}/children").read_text().split()
    return [int(pid) for pid in children if "spawn_main" in command_of(pid)]


def command_of(pid: str) -> str:
    """Its command; nothing if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def post(product: Product, number: int, **headers: str) -> None:
    """Each from a connection of its own, so that both workers get some."""
    for index in range(number):
        answer = httpx2.post(
            f"{product.public_url}/Log/auth", json=event(f"user-{index}"), headers=headers, trust_env=False
        )
        assert answer.status_code == 200


def test_the_counts_of_workers_add_up_also_after_one_was_killed(product: Product) -> None:
    public = product.public
    wait_until(lambda: value(public, PROCESSES) == 2)
    before = value(public, REQUESTS, POSTS)
    post(product, 20)
    wait_until(lambda: value(public, REQUESTS, POSTS) == before + 20)
    killed, *_ = workers_of(public)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: killed not in workers_of(public) and len(workers_of(public)) == 2)
    wait_until(lambda: value(public, PROCESSES) == 2)
    assert value(public, REQUESTS, POSTS) == before + 20
    post(product, 5)
    wait_until(lambda: value(public, REQUESTS, POSTS) == before + 25)


def test_a_direct_answer_and_a_long_one_count_under_the_same_route(product: Product) -> None:
    before = value(product.public, REQUESTS, POSTS)
    post(product, 1)
    post(product, 1, connection="close")  # which no direct route answers
    wait_until(lambda: value(product.public, REQUESTS, POSTS) == before + 2)


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/Log/auth/statistics", "/Log/auth/statistics", "200"),
        ("HEAD", "/Log/auth/statistics/", "/Log/auth/statistics", "200"),
        ("GET", "/Log/auth/statistics?wrong=1", "/Log/auth/statistics", "422"),
        ("DELETE", "/Log/auth", "/Log/auth", "405"),
        ("GET", "/api/v1/stats/devices/a-name", "/api/v1/stats/devices/{device_id}", "401"),
        ("GET", "/nowhere/at/all", "", "404"),
    ],
    ids=["found", "head", "query refused", "method refused", "parameter", "no route"],
)
def test_a_request_counts_under_the_template_of_its_route(
    product: Product, method: str, path: str, route: str, status: str
) -> None:
    labels = {"http_request_method": method, "http_route": route, "http_response_status_code": status}
    before = value(product.public, REQUESTS, labels)
    assert httpx2.request(method, product.public_url + path, trust_env=False).status_code == int(status)
    wait_until(lambda: value(product.public, REQUESTS, labels) == before + 1)


def test_the_private_service_counts_events_by_their_outcome_and_the_calls_that_carry_them(product: Product) -> None:
    def outcomes(name: str) -> float:
        return value(product.private, EVENTS, {"kind": "auth_events", "outcome": name})

    before = {name: outcomes(name) for name in ("recorded", "replayed", "conflict")}
    key = {"Idempotency-Key": "metrics-1"}
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        for body, status in ((event("one"), 200), (event("one"), 200), (event("other"), 409)):
            assert client.post("/Log/auth", json=body, headers=key).status_code == status
        batch = [{**event("one"), "eventId": "metrics-2"}, {**event("two"), "eventId": "metrics-3"}]
        for _ in range(2):
            assert client.post("/Log/auth/batch", json=batch).status_code == 200
    wait_until(
        lambda: (
            {name: outcomes(name) - before[name] for name in before} == {"recorded": 3, "replayed": 3, "conflict": 1}
        )
    )
    assert value(product.private, f"{NAMESPACE}_idempotent_replays_total") >= 3
    assert value(product.private, f"{NAMESPACE}_coalescer_flush_items_count", {"kind": "auth_events"}) > 0
    calls = {"url_template": "/events/auth_events/batch", "http_response_status_code": "200"}
    wait_until(lambda: value(product.public, f"{CLIENT_DURATION.name}_count", calls) == 2)


def test_the_state_of_the_database_is_shown_by_the_private_service_alone(product: Product) -> None:
    wait_until(lambda: value(product.private, f"{NAMESPACE}_database_answers") == 1)
    shown = {each.labels["table"]: each.value for each in samples(product.private) if "default_partition" in each.name}
    assert shown == dict.fromkeys(["api_request", "auth_event", "measurement", "store_event"], 0)
    assert value(product.private, f"{NAMESPACE}_erasures_open") == 0
    assert "default_partition" not in scrape(product.public)


def test_the_public_port_shows_no_metrics_and_the_metrics_port_nothing_else(product: Product) -> None:
    answer = httpx2.get(f"{product.public_url}/metrics", trust_env=False)
    assert answer.status_code == 404
    assert NAMESPACE not in answer.text
    url = f"http://127.0.0.1:{product.public.env['METRICS_PORT']}/Log/auth"
    before = value(product.private, EVENTS)
    httpx2.post(url, json=event("nobody"), trust_env=False)
    assert value(product.private, EVENTS) == before


def test_no_label_has_what_a_client_has_chosen(product: Product) -> None:
    secret = "a-name-that-nobody-else-uses"  # noqa: S105 - a mark
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        client.post("/Log/auth", json=event(secret), headers={"X-Request-ID": secret, "User-Agent": secret})
        client.get(f"/{secret}")
        client.get(f"/api/v1/stats/devices/{secret}", headers={"X-API-Key": secret})
        client.request(secret.upper(), "/Log/auth")
    for service in (product.public, product.private):
        assert secret not in scrape(service).lower()
