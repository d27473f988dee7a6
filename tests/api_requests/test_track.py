"""Recording requests: what comes back, what a repeat does, and who may not."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.api_requests.conftest import TRACK, TrackedProject
from tests.api_requests.payloads import request
from tests.database import assert_counts_are_exact, rows
from tests.servers import Product


def facts(product: Product, project: TrackedProject) -> int:
    [(found,)] = rows(
        product.database,
        "SELECT count(*)::int FROM api_request JOIN project USING (project_id) WHERE project_key = %(key)s",
        {"key": project.key},
    )
    return int(found)


def assert_problem(answer: httpx2.Response, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["error"] == body["detail"]


@pytest.mark.parametrize("slash", ["", "/"], ids=["bare", "slash"])
def test_a_recorded_request_comes_back_as_it_is_stored(tracked: TrackedProject, slash: str) -> None:
    sent = request(
        48.0625, 201, "/orders/?page=2", user_agent="u" * 600, consumer="app", timestamp="2026-11-30T09:00:00+02:00"
    )
    at = datetime.now(UTC).replace(microsecond=250_000) - timedelta(hours=1)
    sent["timestamp"] = at.astimezone().isoformat()

    answer = tracked.http.post(TRACK + slash, json=sent, follow_redirects=False)

    row = answer.json()
    assert answer.status_code == httpx2.codes.CREATED
    assert str(UUID(row["id"])) == row.pop("id")
    assert datetime.fromisoformat(row.pop("timestamp")) == at
    assert row == {
        "url_path": "/orders",
        "method": "GET",
        "response_status_code": 201,
        "response_time_ms": 48.062,
        "user_agent": "u" * 512,
        "ip_hash": None,
        "consumer": "app",
    }


def test_a_repeat_gets_the_first_row_and_counts_nothing(tracked: TrackedProject) -> None:
    first = tracked.track(request(), **{"Idempotency-Key": "k"})
    for again in (tracked.track(request(), **{"Idempotency-Key": "k"}), tracked.track(request(eventId="k"))):
        assert (again.status_code, again.json()) == (201, first.json())
        assert again.headers["idempotent-replayed"] == "true"
    batch = tracked.http.post(f"{TRACK}/batch", json=[request(eventId="k")]).json()
    assert (batch["registered"], batch["duplicate"]) == (0, 1)
    assert_problem(tracked.track(request(13), **{"Idempotency-Key": "k"}), 409, "idempotency-key-reused")
    assert_problem(tracked.track(request(eventId="a"), **{"Idempotency-Key": "b"}), 422, "invalid")
    assert tracked.summary()["request_count"] == 1


def test_a_bad_item_of_a_batch_harms_no_other(tracked: TrackedProject) -> None:
    items = [request(), request(-1), request(eventId="x"), request(eventId="x"), "text"]
    for lines in (False, True):
        content = "\n".join(map(json.dumps, items)) if lines else json.dumps(items)
        media_type = "application/x-ndjson" if lines else "application/json"
        answer = tracked.http.post(f"{TRACK}/batch/", content=content, headers={"Content-Type": media_type})
        found = answer.json()
        assert answer.status_code == httpx2.codes.OK
        assert (found["registered"], found["duplicate"], found["rejected"]) == ((1, 2, 2) if lines else (2, 1, 2))
        assert [each["index"] for each in found["results"] if each["status"] == "rejected"] == [1, 4]
    assert tracked.summary()["request_count"] == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("url_path", "orders"), ("method", "FETCH"), ("response_status_code", 600), ("response_time_ms", 3_600_001)],
)
def test_a_refusal_names_its_field(product: Product, tracked: TrackedProject, field: str, value: object) -> None:
    answer = tracked.track(request() | {field: value})
    assert_problem(answer, 422, "invalid")
    assert [each["field"] for each in answer.json()["errors"]] == [field]
    assert facts(product, tracked) == 0


@pytest.mark.parametrize("path", [TRACK, f"{TRACK}/batch"])
def test_without_a_key_that_may_record_nothing_is_stored(product: Product, tracked: TrackedProject, path: str) -> None:
    body = [request()] if path.endswith("batch") else request()
    reader = make_key(product, tracked.key, "read")
    with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
        missing = client.post(path, json=body)
        assert_problem(missing, 401, "not-authenticated")
        assert missing.headers["www-authenticate"] == "Bearer"
        assert_problem(client.post(path, json=body, headers={"X-API-Key": reader[:-1] + "-"}), 401, "not-authenticated")
        assert_problem(client.post(path, json=body, headers={"X-API-Key": reader}), 403, "forbidden")
        bearer = {"Authorization": f"Bearer {tracked.api_key}"}
        assert client.post(path, json=body, headers=bearer).is_success
    assert facts(product, tracked) == 1


def test_a_key_belongs_to_its_project(product: Product, new_project: Callable[[], TrackedProject]) -> None:
    first, second = new_project(), new_project()
    for project in (first, second):
        answer = project.track(request(), **{"Idempotency-Key": "the same"})
        assert "idempotent-replayed" not in answer.headers
    assert (facts(product, first), facts(product, second)) == (1, 1)


def test_the_address_of_the_connection_is_stored_nowhere(product: Product, tracked: TrackedProject) -> None:
    tracked.track(request(), **{"X-Forwarded-For": "203.0.113.77"})
    [(row,)] = rows(
        product.database, "SELECT row_to_json(api_request)::text FROM api_request ORDER BY received_at DESC LIMIT 1"
    )
    assert "203.0.113.77" not in row
    assert "127.0.0.1" not in row
    assert make_project(product) != tracked.key
    assert_counts_are_exact(product)
