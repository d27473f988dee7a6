"""The private service, as the public one meets it: the same words, and a token at the door of every write."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest

from contract.auth_events.events import DeviceType
from tests.auth_events.payloads import REGISTERED, WINDOWS, event
from tests.database import facts_of, rows
from tests.servers import Product, StartProduct

WRITES = ["/Device/register", "/Device/register/coalesced", "/Device/register/batch"]
PREVIOUS = "the-token-before-the-current-one"


def registration(user_key: str, **more: object) -> dict[str, object]:
    """One event as the public service forwards it."""
    return {
        "project_id": 1,
        "event_id": str(uuid4()),
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


def test_a_registration_is_answered_with_the_documents_words(private: httpx2.Client, product: Product) -> None:
    answer = private.post("/Device/register", json=event("private-1"), headers={"X-Request-ID": "from-inside"})
    assert (answer.status_code, answer.json()) == (200, REGISTERED)
    assert answer.headers["x-request-id"] == "from-inside"
    assert facts_of(product.database, "private-1") == 1


def test_an_unknown_device_type_is_400_and_a_bad_user_key_422(private: httpx2.Client) -> None:
    answer = private.post("/Device/register", json=event("u", "Windows"))
    assert (answer.status_code, answer.json()) == (400, {"detail": WINDOWS})
    for body, field in (
        (event(" "), "userKey"),
        ({"deviceType": "iOS"}, "userKey"),
        ({"userKey": "u"}, "deviceType"),
        (event("", "Windows"), "userKey"),
        (event("u", occurredAt="2020-01-01T00:00:00Z"), "occurredAt"),
    ):
        answer = private.post("/Device/register", json=body)
        assert answer.status_code == 422
        assert ["body", field] in [each["loc"] for each in answer.json()["detail"]]


def test_a_key_makes_a_repeat_exact_here_too(private: httpx2.Client, product: Product) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    first, second = (private.post("/Device/register", json=event("private-2"), headers=key) for _ in range(2))
    assert first.content == second.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    other = private.post("/Device/register", json=event("private-3"), headers=key)
    assert (other.status_code, set(other.json())) == (409, {"detail"})
    assert (facts_of(product.database, "private-2"), facts_of(product.database, "private-3")) == (1, 0)


def test_the_same_event_id_again_is_a_retry_and_not_a_second_event(private: httpx2.Client, product: Product) -> None:
    body = {"registrations": [registration("retried"), registration("retried-too")], "request_ids": ["a", "b"]}
    for _ in range(3):
        answer = private.post("/Device/register/coalesced", json=body)
        assert answer.json() == {"registered": 2, "others": []}
    assert facts_of(product.database, "retried") == facts_of(product.database, "retried-too") == 1


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "credentials",
    [None, "", "Bearer", "Bearer wrong-token-of-some-length", "Basic {token}", "{token}",
     "Bearer {token}x", "Bearer " + "ü" * 30],
    ids=repr,
)  # fmt: skip
def test_without_the_service_token_nothing_is_accepted(product: Product, path: str, credentials: str | None) -> None:
    headers = (
        {} if credentials is None else {b"Authorization": credentials.format(token=product.service_token).encode()}
    )
    answer = httpx2.post(f"{product.private_url}{path}", json=event("intruder"), headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()) == (401, {"detail": "a valid service token is needed"})
    assert answer.headers["www-authenticate"] == "Bearer"
    assert facts_of(product.database, "intruder") == 0


def test_health_needs_no_token(product: Product) -> None:
    for path in ("/health", "/livez", "/readyz"):
        assert httpx2.get(f"{product.private_url}{path}", trust_env=False).status_code == 200


def test_while_a_token_is_rotated_the_one_before_it_is_good_too(start_product: StartProduct) -> None:
    product = start_product(env={"SERVICE_TOKEN_PREVIOUS": PREVIOUS})
    for token, status in ((PREVIOUS, 200), (product.service_token, 200), ("another-token-altogether", 401)):
        answer = httpx2.post(
            f"{product.private_url}/Device/register",
            json=event("u"),
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
        )
        assert answer.status_code == status


def test_the_public_service_needs_no_token_and_passes_none_on(public: httpx2.Client) -> None:
    answer = public.post("/Log/auth", json=event("u"), headers={"Authorization": "Bearer whatever"})
    assert answer.json() == REGISTERED


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


async def test_work_whose_deadline_has_passed_is_not_begun(product: Product) -> None:
    headers = {"Authorization": f"Bearer {product.service_token}"}
    async with httpx2.AsyncClient(base_url=product.private_url, headers=headers, timeout=20, trust_env=False) as client:
        for deadline in ("0", "-1e300", "-inf", str(datetime.now(UTC).timestamp() - 0.001)):
            late = {"X-Request-Deadline": deadline}
            answers = await asyncio.gather(
                *(client.post("/Device/register", json=event("expired"), headers=late) for _ in range(10)),
                *(
                    client.post(
                        "/Device/register/batch",
                        json=batch_of_one("expired"),
                        headers=late,
                    )
                    for _ in range(10)
                ),
            )
            for answer in answers:
                assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
                assert answer.headers["retry-after"] == "1"
            body = {"registrations": [registration("expired")] * 3, "request_ids": []}
            coalesced = await client.post("/Device/register/coalesced", json=body, headers=late)
            assert coalesced.json()["registered"] == 0
            assert [each["status"] for each in coalesced.json()["others"]] == ["not-recorded"] * 3
    assert facts_of(product.database, "expired") == 0


@pytest.mark.parametrize("deadline", ["soon", "", "1e9e", "0x10"])
def test_a_deadline_that_is_no_number_is_422(private: httpx2.Client, deadline: str) -> None:
    answer = private.post("/Device/register", json=event("u"), headers={"X-Request-Deadline": deadline})
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["header", "X-Request-Deadline"]]


@pytest.mark.parametrize("deadline", ["nan", "inf", "99999999999"])
def test_a_deadline_far_away_is_the_services_own(private: httpx2.Client, deadline: str) -> None:
    answer = private.post("/Device/register", json=event("u"), headers={"X-Request-Deadline": deadline})
    assert answer.json() == REGISTERED


def test_the_contract_and_the_database_know_the_same_device_types(product: Product) -> None:
    [(names,)] = rows(product.database, "SELECT enum_range(NULL::device_type)::text[]")
    assert names == [str(each) for each in DeviceType]
