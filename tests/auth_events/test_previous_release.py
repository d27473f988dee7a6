"""The routes of release 0.1.0, which its public processes call while this release is rolled out."""

from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest
from uuid_utils import uuid7

from tests.database import facts_of
from tests.servers import Product


def registration(user_key: str, **more: object) -> dict[str, object]:
    """One event as the public service forwards it."""
    return {
        "project_id": 1,
        "event_id": str(uuid7()),
        "received_at": datetime.now(UTC).isoformat(),
        "user_key": user_key,
        "device_type": "iOS",
    } | more


def batch_of_one(user_key: str, **more: object) -> dict[str, object]:
    """A batch of one event as the public service forwards it: in columns."""
    return {
        "project_id": 1,
        "batch_id": str(uuid4()),
        "received_at": datetime.now(UTC).isoformat(),
        "user_keys": [user_key],
        "device_types": ["iOS"],
        "rejected": [],
    } | more


def test_the_same_event_id_again_is_a_retry_and_not_a_second_event(private: httpx2.Client, product: Product) -> None:
    body = {"registrations": [registration("retried"), registration("retried-too")], "request_ids": ["a", "b"]}
    for _ in range(3):
        answer = private.post("/Device/register/coalesced", json=body)
        assert answer.json() == {"registered": 2, "others": []}
    assert facts_of(product.database, "retried") == facts_of(product.database, "retried-too") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"registrations": [], "request_ids": []},
        {"registrations": [{}], "request_ids": []},
        {"registrations": [registration("bad", event_id="no-id")], "request_ids": []},
        {"registrations": [registration("bad", received_at="0001-01-01T00:00:00Z", occurred_at="0001-01-02T00:00:00Z")],
         "request_ids": []},
        {"registrations": [registration("bad", received_at="9999-12-31T23:59:59Z", occurred_at="9999-11-01T00:00:00Z")],
         "request_ids": []},
        {"registrations": [registration("bad", project_id=2**31)], "request_ids": []},
    ],
    ids=["none", "empty", "id", "year-1", "year-9999", "project"],
)  # fmt: skip
def test_a_forward_that_makes_no_sense_is_422_and_never_500(
    private: httpx2.Client, product: Product, body: dict[str, object]
) -> None:
    assert private.post("/Device/register/coalesced", json=body).status_code == 422
    assert facts_of(product.database, "bad") == 0


def test_a_batch_forward_is_answered_as_its_client_will_be(private: httpx2.Client, product: Product) -> None:
    answer = private.post("/Device/register/batch", json=batch_of_one("in-columns"))
    counts = {"registered": 1, "duplicate": 0, "rejected": 0, "results": []}
    assert answer.json() == {"answer": counts, "replayed": False}
    assert facts_of(product.database, "in-columns") == 1


@pytest.mark.parametrize(
    "misfit",
    [
        {"rejected": [{"index": 2, "status": "rejected", "detail": "beyond the batch"}]},
        {"rejected": [{"index": -1, "status": "rejected", "detail": "before it"}]},
        {"rejected": [{"index": False, "status": "rejected", "detail": "no number"}]},
        {"rejected": [{"index": 0, "status": "rejected", "detail": "twice"}] * 2},
        {"device_types": ["iOS", "TV"]},
        {"device_types": []},
        {"device_types": ["Windows"]},
        {"batch_id": "no id"},
        {"batch_id": "0" * 36},
        {"user_keys": []},
        {"user_keys": ["u"] * 10_001, "device_types": ["iOS"] * 10_001},
        {"user_keys": [""]},
        {"user_keys": [None]},
        {"user_keys": ["a\x00b"]},
        {"user_keys": ["a\x9fb"]},
        {"user_keys": ["k" * 256]},
        {"occurred_at": {"1": "2026-11-22T00:00:00Z"}},
        {"occurred_at": {"0": "2020-01-01T00:00:00Z"}},
        {"identities": {"-1": {"key": "k", "body_sha256": "0" * 64}}},
        {"received_at": "0001-01-01T00:00:00Z", "occurred_at": {"0": "0001-02-01T00:00:00Z"}},
    ],
    ids=lambda misfit: str(misfit)[:80],
)
def test_a_batch_forward_whose_columns_do_not_fit_is_422(
    private: httpx2.Client, product: Product, misfit: dict[str, object]
) -> None:
    assert private.post("/Device/register/batch", json=batch_of_one("misfit", **misfit)).status_code == 422
    assert facts_of(product.database, "misfit") == 0


def test_every_outcome_has_the_word_of_that_release(private: httpx2.Client, product: Product) -> None:
    key = {"key": str(uuid4()), "body_sha256": "0" * 64}
    events = [
        registration("old-1", identity=key),
        registration("old-1", identity=key),
        registration("old-2", identity=key | {"body_sha256": "1" * 64}),
    ]
    answer = private.post("/Device/register/coalesced", json={"registrations": events, "request_ids": []})
    others = [(each["index"], each["status"]) for each in answer.json()["others"]]
    assert (answer.json()["registered"], others) == (1, [(1, "replayed"), (2, "conflict")])
    assert (facts_of(product.database, "old-1"), facts_of(product.database, "old-2")) == (1, 0)


def test_a_batch_gets_its_stored_answer_and_another_one_under_its_key_a_409(
    private: httpx2.Client, product: Product
) -> None:
    identity = {"key": str(uuid4()), "body_sha256": "0" * 64}
    batch = batch_of_one("old-batch", identity=identity)
    answers = [private.post("/Device/register/batch", json=batch | {"batch_id": str(uuid4())}) for _ in range(2)]
    assert [answer.json()["replayed"] for answer in answers] == [False, True]
    assert answers[0].json()["answer"] == answers[1].json()["answer"]
    own_retry = [private.post("/Device/register/batch", json=batch_of_one("old", **batch)) for _ in range(2)]
    assert {answer.json()["replayed"] for answer in own_retry} == {True}
    other = private.post("/Device/register/batch", json=batch | {"identity": identity | {"body_sha256": "1" * 64}})
    assert (other.status_code, set(other.json())) == (409, {"detail"})
    assert facts_of(product.database, "old-batch") == 1


def test_when_none_is_stored_each_event_is_told_so(private: httpx2.Client, product: Product) -> None:
    body = {"registrations": [registration("expired")] * 3, "request_ids": []}
    answer = private.post("/Device/register/coalesced", json=body, headers={"X-Request-Deadline": "0"})
    assert answer.json()["registered"] == 0
    assert [each["status"] for each in answer.json()["others"]] == ["not-recorded"] * 3
    assert facts_of(product.database, "expired") == 0


def test_what_one_release_claimed_is_a_replay_for_the_other(private: httpx2.Client, product: Product) -> None:
    """A key names one event, whichever release its client's repeat meets."""
    key = {"key": str(uuid4()), "body_sha256": "0" * 64}
    private.post(
        "/Device/register/coalesced",
        json={"registrations": [registration("both", identity=key)], "request_ids": []},
    )
    forward = {
        "project_ids": [1],
        "event_ids": [str(uuid4())],
        "received_at": [datetime.now(UTC).isoformat()],
        "columns": {"user_keys": ["both"], "device_types": ["iOS"]},
        "keys": {"0": {"key": key["key"], "fingerprint": key["body_sha256"]}},
    }
    answer = private.post("/events/auth_events/forward", json=forward)
    assert [each["status"] for each in answer.json()["exceptions"]] == ["replayed"]
    assert facts_of(product.database, "both") == 1
