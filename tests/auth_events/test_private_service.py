"""The private service, as the public one meets it: the same words, and a token at the door of every write."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest
from uuid_utils import uuid7

from contract.auth_events.events import DeviceType
from tests.auth_events.payloads import REGISTERED, WINDOWS, event
from tests.database import facts_of, rows
from tests.servers import Product, StartProduct

FORWARD = "/events/auth_events/forward"
BATCH = "/events/auth_events/batch"
WRITES = ["/Device/register", "/Device/register/coalesced", "/Device/register/batch", FORWARD, BATCH]
PREVIOUS = "the-token-before-the-current-one"


def forward_of(*user_keys: str, **more: object) -> dict[str, object]:
    """Events as the public service forwards them: in columns."""
    return {
        "project_ids": [1] * len(user_keys),
        "event_ids": [str(uuid7()) for _ in user_keys],
        "received_at": [datetime.now(UTC).isoformat()] * len(user_keys),
        "columns": columns_of(*user_keys),
        "request_ids": [],
    } | more


def batch_of(*user_keys: str, **more: object) -> dict[str, object]:
    """A batch as the public service forwards it."""
    return {
        "project_id": 1,
        "batch_id": str(uuid4()),
        "received_at": datetime.now(UTC).isoformat(),
        "columns": columns_of(*user_keys),
        "rejected": [],
    } | more


def columns_of(*user_keys: object, **more: object) -> dict[str, object]:
    return {"user_keys": user_keys, "device_types": ["iOS"] * len(user_keys)} | more


def key(value: str, fingerprint: str = "0") -> dict[str, str]:
    return {"key": value, "fingerprint": fingerprint * 64}


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


def test_an_events_own_id_is_its_key(private: httpx2.Client, product: Product) -> None:
    first, other = str(uuid4()), str(uuid4())
    header = {"Idempotency-Key": first}
    for body, headers in ((event("own-id", eventId=first), {}), (event("own-id"), header)):
        answer = private.post("/Device/register", json=body, headers=headers)
        assert answer.json() == REGISTERED
    assert answer.headers["idempotent-replayed"] == "true"
    assert private.post("/Device/register", json=event("own-id", eventId=first), headers=header).json() == REGISTERED
    contradiction = private.post("/Device/register", json=event("own-id", eventId=other), headers=header)
    assert contradiction.status_code == 422
    assert [each["loc"] for each in contradiction.json()["detail"]] == [["body", "eventId"]]
    assert contradiction.json()["detail"][0]["msg"] == "must equal the header Idempotency-Key where both are sent"
    assert facts_of(product.database, "own-id") == 1


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
    assert (answer.status_code, answer.json()["detail"]) == (401, "a valid service token is needed")
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


def test_the_public_service_needs_no_token_and_takes_none(product: Product, public: httpx2.Client) -> None:
    assert public.post("/Log/auth", json=event("u")).json() == REGISTERED
    bearer = {"Authorization": f"Bearer {product.service_token}"}
    assert public.post("/Log/auth", json=event("u"), headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "misfit",
    [
        {},
        {"project_ids": []},
        {"project_ids": [1, 1]},
        {"project_ids": [2**31]},
        {"project_ids": [0]},
        {"project_ids": [True]},
        {"event_ids": ["no-id"]},
        {"event_ids": ["0" * 36]},
        {"received_at": ["0001-01-01T00:00:00Z"], "occurred_at": {"0": "0001-01-02T00:00:00Z"}},
        {"received_at": ["9999-12-31T23:59:59Z"], "occurred_at": {"0": "9999-11-01T00:00:00Z"}},
        {"received_at": ["2026-11-22T00:00:00"]},
        {"columns": columns_of("bad", device_types=["iOS", "TV"])},
        {"columns": columns_of("bad", device_types=["Windows"])},
        {"columns": columns_of("bad", "bad")},
        {"columns": columns_of("")},
        {"columns": columns_of(None)},
        {"columns": columns_of("a\x00b")},
        {"columns": columns_of("k" * 256)},
        {"occurred_at": {"1": "2026-11-22T00:00:00Z"}},
        {"keys": {"-1": key("k")}},
        {"keys": {"0": key("")}},
        {"keys": {"0": {"key": "k", "fingerprint": "short"}}},
    ],
    ids=lambda misfit: str(misfit)[:80],
)
def test_a_forward_that_makes_no_sense_is_422_and_never_500(
    private: httpx2.Client, product: Product, misfit: dict[str, object]
) -> None:
    body = forward_of("bad") | misfit if misfit else {}
    answer = private.post(FORWARD, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert facts_of(product.database, "bad") == 0


def test_a_forward_has_no_more_events_than_it_may(private: httpx2.Client, product: Product) -> None:
    assert private.post(FORWARD, json=forward_of(*["too-many"] * 5_001)).status_code == 422
    assert private.post(FORWARD, json=forward_of(*["many"] * 5_000)).json()["recorded"] == 5_000
    assert (facts_of(product.database, "too-many"), facts_of(product.database, "many")) == (0, 5_000)


def test_a_batch_is_answered_as_its_client_will_be(private: httpx2.Client, product: Product) -> None:
    answer = private.post(BATCH, json=batch_of("in-columns"))
    counts = {"registered": 1, "duplicate": 0, "rejected": 0, "results": []}
    assert answer.json() == {"response": counts, "replayed": False}
    assert facts_of(product.database, "in-columns") == 1


def test_another_batch_under_the_same_key_is_409(private: httpx2.Client, product: Product) -> None:
    own = str(uuid4())
    private.post(BATCH, json=batch_of("first", key=key(own)))
    answer = private.post(BATCH, json=batch_of("second", key=key(own, "1")))
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency-key-reused")
    assert facts_of(product.database, "second") == 0


@pytest.mark.parametrize(
    "misfit",
    [
        {"rejected": [{"index": 2, "status": "rejected", "detail": "beyond the batch"}]},
        {"rejected": [{"index": -1, "status": "rejected", "detail": "before it"}]},
        {"rejected": [{"index": False, "status": "rejected", "detail": "no number"}]},
        {"rejected": [{"index": 0, "status": "rejected", "detail": "twice"}] * 2},
        {"columns": columns_of("misfit", device_types=["iOS", "TV"])},
        {"columns": columns_of("misfit", device_types=[])},
        {"columns": columns_of("misfit", device_types=["Windows"])},
        {"columns": columns_of(*["misfit"] * 10_001)},
        {"columns": columns_of("a\x9fb")},
        {"batch_id": "no id"},
        {"batch_id": "0" * 36},
        {"occurred_at": {"1": "2026-11-22T00:00:00Z"}},
        {"occurred_at": {"0": "2020-01-01T00:00:00Z"}},
        {"keys": {"-1": key("k")}},
        {"received_at": "0001-01-01T00:00:00Z", "occurred_at": {"0": "0001-02-01T00:00:00Z"}},
    ],
    ids=lambda misfit: str(misfit)[:80],
)
def test_a_batch_whose_columns_do_not_fit_is_422(
    private: httpx2.Client, product: Product, misfit: dict[str, object]
) -> None:
    assert private.post(BATCH, json=batch_of("misfit", **misfit)).status_code == 422
    assert facts_of(product.database, "misfit") == 0


def test_a_path_of_another_kind_is_404(private: httpx2.Client) -> None:
    assert private.post("/events/devices/forward", json=forward_of("u")).status_code == 404


async def test_work_whose_deadline_has_passed_is_not_begun(product: Product) -> None:
    headers = {"Authorization": f"Bearer {product.service_token}"}
    async with httpx2.AsyncClient(base_url=product.private_url, headers=headers, timeout=20, trust_env=False) as client:
        for deadline in ("0", "-1e300", "-inf", str(datetime.now(UTC).timestamp() - 0.001)):
            late = {"X-Request-Deadline": deadline}
            answers = await asyncio.gather(
                *(client.post("/Device/register", json=event("expired"), headers=late) for _ in range(10)),
                *(client.post(BATCH, json=batch_of("expired"), headers=late) for _ in range(10)),
                *(client.post(FORWARD, json=forward_of(*["expired"] * 3), headers=late) for _ in range(10)),
            )
            for answer in answers:
                assert (answer.status_code, answer.json()["code"]) == (503, "not-recorded")
                assert answer.headers["retry-after"] == "1"
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
