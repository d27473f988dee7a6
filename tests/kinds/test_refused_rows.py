"""A row of any kind that only the database refuses: it is refused alone, and its neighbours are recorded."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest

from tests.database import assert_counts_are_exact, rows
from tests.kinds.client import KindClient, is_replayed, keyed
from tests.kinds.envelopes import forward_of
from tests.kinds.served_kinds import KINDS, WITH_SAMPLE
from tests.log_files import all_written, lines_of
from tests.servers import Product, StartProduct

POISON = "refused-by-the-database"
NEIGHBOURS = 49
REFUSAL = "the database refused this event: no_poison"


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """A product whose database has one rule more than the contract, for each kind. At the end, counts are exact."""
    product = start_product(programs=WITH_SAMPLE)
    for kind in KINDS:
        rule = f"CHECK ({kind.identity_column} <> '{kind.stored(POISON)}')"
        rows(product.database, f"ALTER TABLE {kind.fact} ADD CONSTRAINT no_poison {rule}")
    yield product
    assert_counts_are_exact(product)


async def test_one_refused_row_among_fifty_concurrent_harms_no_neighbour(client: KindClient, product: Product) -> None:
    identities = [f"neighbour-{index}" for index in range(NEIGHBOURS)]
    # Not the first: that one leaves at once and alone, and the others gather behind it.
    identities.insert(NEIGHBOURS // 2, POISON)
    async with httpx2.AsyncClient(base_url=product.public_url, timeout=20, trust_env=False) as http:
        answers = await asyncio.gather(
            *(
                http.post(
                    client.kind.path_of(None),
                    json=client.event(each),
                    headers=keyed(None) | dict(client.kind.headers) | {"X-Request-ID": f"{client.kind.name}-{each}"},
                )
                for each in identities
            )
        )
    refused = answers.pop(NEIGHBOURS // 2)
    assert refused.status_code == 422
    assert REFUSAL in refused.text
    assert [answer.status_code for answer in answers] == [client.kind.recorded_status] * NEIGHBOURS
    found = client.facts_by_identity()
    assert POISON not in found
    assert all(found[f"neighbour-{index}"] == 1 for index in range(NEIGHBOURS))
    all_written(product.private)
    mine = f"{client.kind.name}-{POISON}"
    [company] = [line["request_ids"] for line in lines_of(product.private) if mine in line.get("request_ids", ())]
    assert len(company) > 1


def test_a_refused_row_in_one_forward_has_an_outcome_of_its_own(client: KindClient) -> None:
    identities = [f"shared-{index}" for index in range(49)]
    identities[25:25], identities[50:50] = [POISON], [POISON]
    answer = client.forward(forward_of(client.kind, identities))
    refused = [each for each in answer["exceptions"] if each["status"] == "refused"]
    assert [(each["position"], each["detail"]) for each in refused] == [(25, REFUSAL), (50, REFUSAL)]
    assert (answer["recorded"], len(answer["exceptions"])) == (49, 2)
    if client.kind.returns is not None:
        assert [place for place, row in enumerate(answer["rows"]) if row is None] == [25, 50]
    found = client.facts_by_identity()
    assert sum(count for each, count in found.items() if each.startswith("shared-")) == 49
    assert POISON not in found


def test_a_refused_row_of_a_batch_is_rejected_and_the_others_registered(client: KindClient) -> None:
    poisoned = (0, 333, 499)
    items = [client.event(POISON if index in poisoned else "batched", eventId=str(uuid4())) for index in range(500)]
    key = str(uuid4())
    first = client.send_batch(items, key)
    assert first.json() == {
        "registered": 497,
        "duplicate": 0,
        "rejected": 3,
        "results": [{"index": index, "status": "rejected", "detail": REFUSAL} for index in poisoned],
    }
    assert client.send_batch(items, key).content == first.content
    assert client.facts_of("batched") == 497


def test_a_refused_event_leaves_its_key_free(client: KindClient) -> None:
    key = str(uuid4())
    assert client.send(client.event(POISON), key).status_code == 422
    after = client.send(client.event("after-the-poison"), key)
    assert (after.status_code, is_replayed(after)) == (client.kind.recorded_status, False)
    assert client.facts_of("after-the-poison") == 1
