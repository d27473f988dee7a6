"""Whatever happens around it, the coalescer gives each item exactly one outcome, in time."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from servicekit.errors import DomainError
from tests.servicekit.coalescer_world import (
    TICK_SECONDS,
    Call,
    Ending,
    Fate,
    Flush,
    Item,
    Schedule,
    World,
    fate,
)

_TICKS = st.integers(0, 30)
_CALLS = st.builds(
    Call,
    at=_TICKS,
    lifetime=st.integers(0, 20),
    items=st.none() | st.integers(1, 4),
    patience=st.none() | st.integers(0, 10),
)
_FLUSHES = st.builds(
    Flush,
    # Without weight on the fine ones, a schedule rarely comes to its second flush.
    ending=st.just(Ending.FINE) | st.sampled_from(Ending),
    takes=st.integers(0, 8),
    refused=st.frozensets(st.integers(0, 3)),
)
_SCHEDULES = st.builds(
    Schedule,
    calls=st.lists(_CALLS, min_size=1, max_size=12),
    flushes=st.lists(_FLUSHES, max_size=8),
    batch_rows_max=st.integers(1, 4),
    queue_rows_max=st.integers(1, 6),
    least=st.integers(0, 3),
    close_at=st.integers(0, 60),
    drain=st.integers(0, 20),
    core_share=st.sampled_from([0.0, 1.0]),
    group_items_min=st.integers(1, 3),
)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Thousands of flushes fail on purpose, and each would be logged with its trace."""
    logger = logging.getLogger("servicekit.concurrency.coalescer")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


@settings(max_examples=1_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
@given(_SCHEDULES)
def test_each_item_gets_exactly_the_outcome_that_its_history_allows(schedule: Schedule) -> None:
    note(repr(schedule))  # a failure is replayed by running it as an example: World(...).run()
    world = World(schedule).run()

    for item in world.items:
        assert (item.withdrawn_at is None) != (item.answered_at is None)
        assert fate(item) in _possible_fates(world, item)
        if item.answered_at is not None:
            assert item.answered_at <= _latest_answer(world, item)
    errors = [item.answer for item in world.items if isinstance(item.answer, DomainError)]
    assert len({id(error) for error in errors}) == len(errors), "one instance in two tasks mixes up their tracebacks"


def _possible_fates(world: World, item: Item) -> set[Fate]:
    if item.withdrawn_at is not None:
        return {Fate.WITHDRAWN}
    if item.refusal is not None:
        assert item.flush is None
        return {Fate.OVERLOADED if item.refusal == "full" else Fate.NOT_RECORDED}
    if item.flush is None:
        # Refused on its turn, with too little time left; or it never had a turn before the end.
        return {Fate.NOT_RECORDED}
    run = item.flush
    if run.plan.ending in (Ending.NEVER, Ending.DEAF):
        return {Fate.UNKNOWN}
    told = {Ending.NOT_RECORDED: Fate.NOT_RECORDED, Ending.FINE: Fate.STORED}.get(run.plan.ending, Fate.UNKNOWN)
    if run.plan.ending is Ending.FINE and run.items.index(item) in run.plan.refused:
        told = Fate.REFUSED
    ends = run.begun_at + run.plan.takes * TICK_SECONDS
    given_up = min(run.deadline, _drained_at(world))
    if ends == given_up:  # at the very same instant, either may be noticed first
        return {told, Fate.UNKNOWN}
    return {told if ends < given_up else Fate.UNKNOWN}


def _latest_answer(world: World, item: Item) -> float:
    """An item waits behind those submitted before it, and so never beyond the latest of their deadlines and its own.

    Where later items have later deadlines, that is its own deadline.
    """
    deadlines = [each.deadline for each in world.items if each.number < item.number and each.refusal is None]
    return min(max([item.deadline, *deadlines]), max(_drained_at(world), item.submitted_at))


def _drained_at(world: World) -> float:
    assert world.closed_at is not None
    return world.closed_at + world.schedule.drain * TICK_SECONDS
