"""A houseful for a burst and for patient clients; in a lasting overload, as many as flushes stay short with."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.concurrency.concurrency_limit import (
    BASELINE_ITEMS_MAX,
    IN_FLIGHT_MIN,
    LATENCY_RATIO_MAX,
    OVERLOAD_SECONDS,
    AdaptiveConcurrencyLimit,
)

HOUSE = 600
USUAL_SECONDS = 0.004


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Callable[[], float], house: int = HOUSE) -> AdaptiveConcurrencyLimit:
    concurrency_limit = AdaptiveConcurrencyLimit(clock)
    concurrency_limit.configure(house)
    return concurrency_limit


def used_to(concurrency_limit: AdaptiveConcurrencyLimit, seconds: float) -> AdaptiveConcurrencyLimit:
    """As after a while with little to do."""
    for _ in range(500):
        concurrency_limit.observe(1, seconds)
    return concurrency_limit


def fill(concurrency_limit: AdaptiveConcurrencyLimit, count: int) -> None:
    concurrency_limit.started = count


def test_everybody_is_admitted_until_the_house_is_full() -> None:
    concurrency_limit = used_to(opened(Clock()), USUAL_SECONDS)
    for in_flight in range(HOUSE):
        fill(concurrency_limit, in_flight)
        assert not concurrency_limit.is_exceeded()
        concurrency_limit.observe(
            in_flight // 2 + BASELINE_ITEMS_MAX, 100 * USUAL_SECONDS
        )  # slow flushes, but nobody was refused
    fill(concurrency_limit, HOUSE)
    assert concurrency_limit.is_exceeded()


def test_bodies_that_are_still_arriving_take_no_place() -> None:
    concurrency_limit = opened(Clock())
    concurrency_limit.started, concurrency_limit.receiving = HOUSE, 1
    assert not concurrency_limit.is_exceeded()


def test_without_a_limit_nothing_is_too_much() -> None:
    concurrency_limit = AdaptiveConcurrencyLimit(Clock())
    fill(concurrency_limit, 1_000_000)
    assert not concurrency_limit.is_exceeded()


def test_before_anybody_knows_what_a_flush_usually_takes_the_whole_house_is_open() -> None:
    concurrency_limit = opened(Clock())
    fill(concurrency_limit, HOUSE)
    assert concurrency_limit.is_exceeded()
    concurrency_limit.observe(BASELINE_ITEMS_MAX + 1, 10.0)
    assert concurrency_limit.limit == HOUSE


def test_once_the_house_was_full_the_limit_falls_while_flushes_are_long_and_rises_while_they_are_short() -> None:
    concurrency_limit = used_to(opened(Clock()), USUAL_SECONDS)
    fill(concurrency_limit, HOUSE)
    assert concurrency_limit.is_exceeded()
    for _ in range(100):
        concurrency_limit.observe(300, 2 * LATENCY_RATIO_MAX * USUAL_SECONDS)
    assert concurrency_limit.limit == IN_FLIGHT_MIN
    fill(concurrency_limit, IN_FLIGHT_MIN - 1)
    assert not concurrency_limit.is_exceeded()
    fill(concurrency_limit, IN_FLIGHT_MIN)
    assert concurrency_limit.is_exceeded()
    for _ in range(100):
        concurrency_limit.observe(300, LATENCY_RATIO_MAX * USUAL_SECONDS / 2)
    assert concurrency_limit.limit == HOUSE


def test_after_a_while_the_whole_house_is_opened_again_without_any_flush() -> None:
    clock = Clock()
    concurrency_limit = used_to(opened(clock), USUAL_SECONDS)
    fill(concurrency_limit, HOUSE)
    assert concurrency_limit.is_exceeded()
    concurrency_limit.observe(300, 100 * USUAL_SECONDS)
    reduced = concurrency_limit.limit
    assert reduced < HOUSE

    fill(concurrency_limit, int(reduced) + 1)
    assert concurrency_limit.is_exceeded()
    clock.now += OVERLOAD_SECONDS
    assert not concurrency_limit.is_exceeded()
    assert concurrency_limit.limit == HOUSE


def test_a_house_that_is_smaller_than_the_least_limit_stays_as_it_is() -> None:
    concurrency_limit = used_to(opened(Clock(), 2), USUAL_SECONDS)
    fill(concurrency_limit, 2)
    assert concurrency_limit.is_exceeded()
    concurrency_limit.observe(300, 100 * USUAL_SECONDS)
    assert concurrency_limit.limit == 2


@given(
    house=st.integers(1, 2000),
    flushes=st.lists(st.tuples(st.integers(1, 1000), st.floats(0.0, 10.0)), max_size=200),
)
def test_the_limit_stays_within_its_bounds(house: int, flushes: list[tuple[int, float]]) -> None:
    concurrency_limit = opened(Clock(), house)
    fill(concurrency_limit, house)
    assert concurrency_limit.is_exceeded()
    for items, seconds in flushes:
        concurrency_limit.observe(items, seconds)
        assert min(house, IN_FLIGHT_MIN) <= concurrency_limit.limit <= house


def waits(
    concurrency_limit: AdaptiveConcurrencyLimit, clock: Clock, *, rate: float, fixed: float, each: float, until: float
) -> Iterator[float]:
    """How long each accepted request waits in an open loop: a flush takes `fixed` seconds and `each` for every item."""
    queue: list[float] = []
    arrival = clock.now
    while clock.now < until:
        batch, queue = queue, []
        seconds = fixed + each * len(batch)
        ends = clock.now + seconds
        while arrival < ends:
            clock.now = arrival
            fill(concurrency_limit, len(batch) + len(queue))
            if not concurrency_limit.is_exceeded():
                queue.append(arrival)
            arrival += 1 / rate
        clock.now = ends
        if batch:
            concurrency_limit.observe(len(batch), seconds)
        yield from (ends - started for started in batch)


@pytest.mark.parametrize("factor", [2, 5, 10])
@pytest.mark.parametrize(("fixed", "each"), [(0.004, 0.000_12), (0.1, 0.000_5), (0.02, 0.000_02)])
def test_whoever_is_accepted_in_an_overload_waits_three_times_as_long_at_the_most(
    fixed: float, each: float, factor: int
) -> None:
    """A model of the queue, not of the machine: what `make soak` measures is the machine's answer."""
    clock = Clock()
    concurrency_limit = opened(clock)
    capacity = 64 / (fixed + 64 * each)  # of 128 clients, half of which wait while the other half is served
    asked = partial(waits, concurrency_limit, clock, fixed=fixed, each=each)
    calm = sorted(asked(rate=capacity / 10, until=clock.now + 20))
    list(asked(rate=capacity * factor, until=clock.now + 1))  # the house fills up, and empties
    started = clock.now
    hard = sorted(asked(rate=capacity * factor, until=started + 5))
    assert hard[int(len(hard) * 0.99)] <= 3 * calm[int(len(calm) * 0.99)]
    # Where a flush costs little, short queues carry less than those 128 clients; where it costs much, more.
    assert len(hard) / (clock.now - started) >= 0.85 * capacity
