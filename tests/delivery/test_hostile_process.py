"""A few of the worst bodies against a real process: what it takes of memory, and that others are served meanwhile."""

import pytest

from tests.delivery.bodies import ARRAY, LINES, MIB, Body
from tests.delivery.hostile_bodies import Subject
from tests.servers import Product

GROWTH_FACTOR_MAX = 8
# The responses to ten thousand items, and what an allocator takes in one piece.
ITEMS_BYTES_MAX = 8 * MIB
# It plateaus at 15 MiB: twelve times the same body leave what one leaves.
KEPT_BYTES_MAX = 20 * MIB
# The loop itself is judged by `test_hostile_batches`; this is the wall clock, on a machine that others use, too. A
# batch that was parsed in one piece held everybody for 34 s.
WAIT_SECONDS_MAX = 1.0
WORST = {
    "lines that are no JSON": Body(LINES, "x", 1, 4 * MIB),
    "deep items": Body(ARRAY, "deep", 30_000, 4 * MIB),
    "four reasons an item": Body(ARRAY, "all fields wrong", 2, 4 * MIB, items_max=10_000),
    "many reasons, few bytes": Body(LINES, "shortest with many errors", 2, 4 * MIB, items_max=10_000, keyed=True),
    "wide characters": Body(LINES, "wide user key", 200, 4 * MIB),
    "keys": Body(ARRAY, "event with a long id", 200, 4 * MIB, items_max=10_000, keyed=True),
}


@pytest.fixture(scope="module")
def subject(product: Product) -> Subject:
    return Subject(product.public)


@pytest.mark.parametrize("body", WORST.values(), ids=WORST.keys())
def test_a_hostile_body_takes_its_share_and_gives_it_back(subject: Subject, body: Body) -> None:
    measured = [subject.measure(body) for _ in range(3)]
    assert {each.status for each in measured} <= {200, 422}
    assert max(each.grown_bytes for each in measured) < GROWTH_FACTOR_MAX * measured[0].bytes + ITEMS_BYTES_MAX
    assert max(each.kept_bytes for each in measured) < KEPT_BYTES_MAX
    assert max(each.wait_seconds for each in measured) < WAIT_SECONDS_MAX
