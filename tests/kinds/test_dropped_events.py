"""What clients say that they dropped is added up once for each batch."""

from uuid import uuid4

import httpx2
import pytest

from tests.kinds.client import KindClient
from tests.kinds.envelopes import batch_of
from tests.servers import Product

DROPPED = "SELECT coalesce(sum(dropped_count), 0)::int FROM stats.dropped_event WHERE kind = %(kind)s"
BATCH = "/Log/auth/batch"


def dropped(client: KindClient) -> int:
    [(count,)] = client.rows(DROPPED, kind=client.kind.name)
    return int(count)


@pytest.mark.parametrize("key", [None, "its-own"])
def test_a_repeat_by_the_public_service_adds_nothing(client: KindClient, key: str | None) -> None:
    """A batch without a key has its id, which is the same in each attempt."""
    before = dropped(client)
    batch = batch_of(client.kind, ["dropped-1", "dropped-2"], key=key and f"{key}-{uuid4()}") | {"dropped": 7}
    first = client.forward_batch(batch)
    again = client.forward_batch(batch, instance=1)
    assert first["response"] == again["response"]
    assert first["response"]["registered"] == 2
    assert dropped(client) == before + 7


def test_a_repeat_under_the_clients_key_adds_nothing(client: KindClient) -> None:
    before, key = dropped(client), f"client-{uuid4()}"
    for _ in range(2):  # another batch_id each time, as a client's own repeat has
        client.forward_batch(batch_of(client.kind, ["repeated"], key=key) | {"dropped": 3})
    assert dropped(client) == before + 3


def test_a_batch_without_events_may_tell_of_dropped_ones(client: KindClient) -> None:
    before = dropped(client)
    for _ in range(2):
        client.forward_batch(batch_of(client.kind, []) | {"dropped": 2})
    assert dropped(client) == before + 4  # two batches


def test_the_exact_way_counts_them_too(client: KindClient) -> None:
    """The rows are stored already, so the fast way fails as a whole."""
    before = dropped(client)
    batch = batch_of(client.kind, ["exact"])
    client.forward_batch(batch)
    client.forward_batch(batch | {"dropped": 5})
    assert dropped(client) == before + 5
    assert client.facts_of("exact") == 1


def test_the_header_is_read_and_a_wrong_one_is_refused(product: Product, client: KindClient) -> None:
    if client.kind.path != "/Log/auth":
        return  # one route stands for all: they read it in the same function
    before = dropped(client)
    with httpx2.Client(base_url=product.public_url, trust_env=False, timeout=20.0) as http:
        good = http.post(BATCH, json=[], headers={"X-Dropped-Events": "12"})
        assert good.status_code == 200, good.text
        for wrong in ("-1", "1.5", "", "many", "1000000001", "9" * 5_000, "\u0661"):
            refused = http.post(BATCH, json=[], headers=[(b"X-Dropped-Events", wrong.encode())])
            assert refused.status_code == 422, wrong
            assert "X-Dropped-Events" in refused.text
        two = http.post(BATCH, json=[], headers=[("X-Dropped-Events", "1"), ("X-Dropped-Events", "2")])
        assert two.status_code == 422
    assert dropped(client) == before + 12
