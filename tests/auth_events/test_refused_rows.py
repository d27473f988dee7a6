"""A row that only the database refuses: it is refused alone, and its neighbours are registered."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import httpx2
import pytest

from tests.auth_events.payloads import REGISTERED, event
from tests.database import assert_counts_are_exact, facts_by_user, facts_of, rows
from tests.log_files import all_written, lines_of
from tests.servers import Product, StartProduct

POISON = "refused-by-the-database"
NEIGHBOURS = 49
REFUSAL = "the database refused this event: no_poison"


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """A product whose database has one rule more than the contract."""
    product = start_product()
    rows(product.database, f"ALTER TABLE auth_event ADD CONSTRAINT no_poison CHECK (user_key <> '{POISON}')")
    return product


async def test_one_refused_row_among_fifty_concurrent_harms_no_neighbour(product: Product) -> None:
    users = [f"neighbour-{index}" for index in range(NEIGHBOURS)]
    # Not the first: that one leaves at once and alone, and the others gather behind it.
    users.insert(NEIGHBOURS // 2, POISON)
    async with httpx2.AsyncClient(base_url=product.public_url, timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(
            *(client.post("/Log/auth", json=event(user), headers={"X-Request-ID": user}) for user in users)
        )
    refused = answers.pop(NEIGHBOURS // 2)
    assert refused.status_code == 422
    assert [each["msg"] for each in refused.json()["detail"]] == [REFUSAL]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, REGISTERED)] * NEIGHBOURS
    found = facts_by_user(product.database)
    assert found[POISON] == 0
    assert all(found[f"neighbour-{index}"] == 1 for index in range(NEIGHBOURS))
    all_written(product.private)
    [company] = [line["request_ids"] for line in lines_of(product.private) if POISON in line.get("request_ids", ())]
    assert len(company) > 1


def test_a_refused_row_in_one_forward_has_an_outcome_of_its_own(private: httpx2.Client, product: Product) -> None:
    users = [
        *(f"shared-{index}" for index in range(25)),
        POISON,
        *(f"shared-{index}" for index in range(25, 49)),
        POISON,
    ]
    body = {
        "project_ids": [1] * len(users),
        "event_ids": [str(uuid4()) for _ in users],
        "received_at": [datetime.now(UTC).isoformat()] * len(users),
        "columns": {"user_keys": users, "device_types": ["TV"] * len(users)},
    }
    answer = private.post("/events/auth_events/forward", json=body).json()
    assert answer["recorded"] == 49
    assert [(each["position"], each["status"], each["detail"]) for each in answer["exceptions"]] == [
        (25, "refused", REFUSAL),
        (50, "refused", REFUSAL),
    ]
    found = facts_by_user(product.database)
    assert sum(count for user, count in found.items() if user.startswith("shared-")) == 49
    assert found[POISON] == 0


def test_a_refused_row_of_a_batch_is_rejected_and_the_others_registered(
    public: httpx2.Client, product: Product
) -> None:
    items = [event(POISON if index in (0, 333, 499) else "in-a-batch", eventId=str(uuid4())) for index in range(500)]
    key = {"Idempotency-Key": str(uuid4())}
    first = public.post("/Log/auth/batch", json=items, headers=key)
    assert first.json() == {
        "registered": 497,
        "duplicate": 0,
        "rejected": 3,
        "results": [{"index": index, "status": "rejected", "detail": REFUSAL} for index in (0, 333, 499)],
    }
    assert public.post("/Log/auth/batch", json=items, headers=key).content == first.content
    assert facts_of(product.database, "in-a-batch") == 497


def test_a_refused_event_leaves_its_key_free(public: httpx2.Client, product: Product) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    assert public.post("/Log/auth", json=event(POISON), headers=key).status_code == 422
    after = public.post("/Log/auth", json=event("after-the-poison"), headers=key)
    assert after.json() == REGISTERED
    assert "idempotent-replayed" not in after.headers
    assert facts_of(product.database, "after-the-poison") == 1


def test_at_the_end_every_count_is_exact(product: Product) -> None:
    assert_counts_are_exact(product)
