"""One JSON line a request in each service, under one request id, and nothing in it that belongs to a client."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from local.services import Service
from tests.auth_events.payloads import NDJSON, event
from tests.database import rows
from tests.log_files import all_written, lines_of
from tests.servers import READER, WRITER, Product, StartProduct

FIELDS = {"time", "level", "service", "event", "request_id", "method", "path", "status", "milliseconds"}
NOW = datetime.now(UTC).isoformat()
FORGERY = '\n{"event":"request","status":200,"forged":true}\n\x1b[2J'


def lines_about(service: Service, request_id: str) -> list[dict[str, Any]]:
    all_written(service)
    return [
        line
        for line in lines_of(service)
        if request_id == line.get("request_id") or request_id in line.get("request_ids", ())
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "forwarded_to"),
    [
        ("/Log/auth", event("u"), 200, "/events/auth_events/forward"),
        ("/Log/auth/batch", [event("u")], 200, "/events/auth_events/batch"),
        ("/Log/auth", event("u", "Windows"), 400, None),
        ("/Log/auth", event(""), 422, None),
        ("/Log/auth", "x" * 70_000, 413, None),
        ("/nothing", {}, 404, None),
        ("/health", {}, 405, None),
    ],
    ids=["event", "batch", "400", "422", "413", "404", "405"],
)
def test_each_request_is_one_line_and_carries_its_id_to_the_private_service(
    public: httpx2.Client, product: Product, path: str, body: object, status: int, forwarded_to: str | None
) -> None:
    request_id = f"logged-{uuid4()}"
    assert public.post(path, json=body, headers={"X-Request-ID": request_id}).status_code == status

    [line] = lines_about(product.public, request_id)
    assert set(line) >= FIELDS
    assert (line["service"], line["event"], line["method"]) == ("statistics-api", "request", "POST")
    assert (line["path"], line["status"]) == (path, status)
    assert line["milliseconds"] > 0
    inside = lines_about(product.private, request_id)
    assert [(each["path"], each["status"]) for each in inside] == ([(forwarded_to, 200)] if forwarded_to else [])


def test_many_events_in_one_forward_are_all_named_in_its_line(private: httpx2.Client, product: Product) -> None:
    ids = [f"together-{uuid4()}" for _ in range(3)]
    body = {
        "project_ids": [1] * 3,
        "event_ids": [str(uuid4()) for _ in ids],
        "received_at": [NOW] * 3,
        "columns": {"user_keys": ["u"] * 3, "device_types": ["TV"] * 3},
        "request_ids": ids,
    }
    assert private.post("/events/auth_events/forward", json=body).status_code == 200
    for request_id in ids:
        [line] = lines_about(product.private, request_id)
        assert (line["events"], line["request_ids"]) == (3, ids)


def test_a_line_cannot_be_forged(public: httpx2.Client, product: Product) -> None:
    all_written(product.public)
    before = len(lines_of(product.public))
    public.get("/nothing" + "%0A%7B%22forged%22%3A%20true%7D%0A%1b%5B2J", headers={"X-Request-ID": 'a"b'})
    public.post("/Log/auth", json=event("u", FORGERY))
    public.get("/Log/auth/statistics", params={"deviceType": FORGERY})
    all_written(product.public)
    after = lines_of(product.public)[before:]
    assert len(after) == 4  # the last one is ours
    assert all(set(line) >= FIELDS and "forged" not in line for line in after)
    assert product.public.log is not None
    assert "\x1b" not in product.public.log.read_text()


def marked(marker: str) -> list[Callable[[httpx2.Client], httpx2.Response]]:
    """Requests that carry `marker` wherever a client can write, to good and to bad ends."""
    secret = {"Authorization": f"Bearer {marker}", "X-API-Key": marker, "Cookie": marker, "User-Agent": marker}
    return [
        lambda c: c.post("/Log/auth", json=event(marker), headers=secret),
        lambda c: c.post("/Log/auth", json=event(marker), headers={"Idempotency-Key": marker}),
        lambda c: c.post("/Log/auth", json=event(f"{marker}-other"), headers={"Idempotency-Key": marker}),
        lambda c: c.post("/Log/auth", json=event("u", marker)),
        lambda c: c.post("/Log/auth", json={"userKey": [marker], "deviceType": "iOS"}),
        lambda c: c.post("/Log/auth", content=f'{{"{marker}'),
        lambda c: c.post("/Log/auth/batch", json=[event(marker, eventId=marker), event(marker, marker)]),
        lambda c: c.post("/Log/auth/batch", content=f"{marker}\n{{", headers=NDJSON),
        lambda c: c.get("/Log/auth/statistics", params={"deviceType": marker}),
        lambda c: c.get("/Log/auth/timeseries", params={"timezone": marker}),
        lambda c: c.get("/Log/auth/timeseries", params={"from": marker}),
    ]


def test_no_body_no_query_no_header_no_secret_and_no_address_is_logged(product: Product) -> None:
    marker = f"marker{uuid4().hex}"
    # Another address of this machine, so that ours cannot be mistaken for where the services listen.
    transport = httpx2.HTTPTransport(local_address="127.0.0.77")
    rows(product.database, "ALTER TABLE auth_event ADD CONSTRAINT no_tv CHECK (device_type <> 'TV') NOT VALID")
    try:
        with httpx2.Client(base_url=product.public_url, transport=transport, trust_env=False, timeout=20) as client:
            statuses = {request(client).status_code for request in marked(marker)}
            statuses.add(client.post("/Log/auth", json=event(marker, "TV")).status_code)
            product.private.kill()
            statuses.add(client.post("/Log/auth", json=event(marker)).status_code)
            product.private.start()
            product.private.wait_ready()
    finally:
        rows(product.database, "ALTER TABLE auth_event DROP CONSTRAINT no_tv")
    assert statuses == {200, 400, 401, 409, 422, 503}
    all_written(product.public, product.private)
    for service in (product.public, product.private):
        assert service.log is not None
        text = service.log.read_text()
        assert len(lines_of(service)) > 5
        for secret in (marker, "127.0.0.77", product.service_token, WRITER.password, READER.password):
            assert secret not in text


def test_an_error_inside_is_a_line_with_its_trace_and_the_client_learns_nothing_of_it(
    start_product: StartProduct,
) -> None:
    """A fault in the schema is the operator's matter: named in the log, a plain 503 outside."""
    product = start_product()
    rows(product.database, "ALTER TABLE auth_event_minute RENAME TO elsewhere")
    answer = httpx2.post(f"{product.public_url}/Log/auth", json=event("user-marker"), trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
    assert "auth_event_minute" not in answer.text
    all_written(product.private)
    errors = [line for line in lines_of(product.private) if line.get("level") == "error"]
    assert any("auth_event_minute" in line.get("exception", "") for line in errors)
    assert product.private.log is not None
    assert "user-marker" not in product.private.log.read_text()
