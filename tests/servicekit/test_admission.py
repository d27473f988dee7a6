"""A houseful for a burst and for patient clients; in a lasting overload, as many as flushes stay short with."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.concurrency.admission import FEW_ITEMS, IN_FLIGHT_MIN, OVERLOAD_SECONDS, STRETCH_MAX, Admission

HOUSE = 600
USUAL_SECONDS = 0.004


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Callable[[], float], house: int = HOUSE) -> Admission:
    admission = Admission(clock)
    admission.open(house)
    return admission


def used_to(admission: Admission, seconds: float) -> Admission:
    """As after a while with little to do."""
    for _ in range(500):
        admission.observe(1, seconds)
    return admission


def fill(admission: Admission, count: int) -> None:
    admission.begun = count


def test_everybody_is_admitted_until_the_house_is_full() -> None:
    admission = used_to(opened(Clock()), USUAL_SECONDS)
    for in_flight in range(HOUSE):
        fill(admission, in_flight)
        assert not admission.is_too_much()
        admission.observe(in_flight // 2 + FEW_ITEMS, 100 * USUAL_SECONDS)  # slow flushes, but nobody was refused
    fill(admission, HOUSE)
    assert admission.is_too_much()


def test_bodies_that_are_still_arriving_take_no_place() -> None:
    admission = opened(Clock())
    admission.begun, admission.arriving = HOUSE, 1
    assert not admission.is_too_much()


def test_without_a_limit_nothing_is_too_much() -> None:
    admission = Admission(Clock())
    fill(admission, 1_000_000)
    assert not admission.is_too_much()


def test_before_anybody_knows_what_a_flush_usually_takes_the_whole_house_is_open() -> None:
    admission = opened(Clock())
    fill(admission, HOUSE)
    assert admission.is_too_much()
    admission.observe(FEW_ITEMS + 1, 10.0)
    assert admission.limit == HOUSE


def test_once_the_house_was_full_the_limit_falls_while_flushes_are_long_and_rises_while_they_are_short() -> None:
    admission = used_to(opened(Clock()), USUAL_SECONDS)
    fill(admission, HOUSE)
    assert admission.is_too_much()
    for _ in range(100):
        admission.observe(300, 2 * STRETCH_MAX * USUAL_SECONDS)
    assert admission.limit == IN_FLIGHT_MIN
    fill(admission, IN_FLIGHT_MIN - 1)
    assert not admission.is_too_much()
    fill(admission, IN_FLIGHT_MIN)
    assert admission.is_too_much()
    for _ in range(100):
        admission.observe(300, STRETCH_MAX * USUAL_SECONDS / 2)
    assert admission.limit == HOUSE


def test_after_a_while_the_whole_house_is_opened_again_without_any_flush() -> None:
    clock = Clock()
    admission = used_to(opened(clock), USUAL_SECONDS)
    fill(admission, HOUSE)
    assert admission.is_too_much()
    admission.observe(300, 100 * USUAL_SECONDS)
    reduced = admission.limit
    assert reduced < HOUSE

    fill(admission, int(reduced) + 1)
    assert admission.is_too_much()
    clock.now += OVERLOAD_SECONDS
    assert not admission.is_too_much()
    assert admission.limit == HOUSE


def test_a_house_that_is_smaller_than_the_least_limit_stays_as_it_is() -> None:
    admission = used_to(opened(Clock(), 2), USUAL_SECONDS)
    fill(admission, 2)
    assert admission.is_too_much()
    admission.observe(300, 100 * USUAL_SECONDS)
    assert admission.limit == 2


@given(
    house=st.integers(1, 2000),
    flushes=st.lists(st.tuples(st.integers(1, 1000), st.floats(0.0, 10.0)), max_size=200),
)
def test_the_limit_stays_within_its_bounds(house: int, flushes: list[tuple[int, float]]) -> None:
    admission = opened(Clock(), house)
    fill(admission, house)
    assert admission.is_too_much()
    for items, seconds in flushes:
        admission.observe(items, seconds)
        assert min(house, IN_FLIGHT_MIN) <= admission.limit <= house


def waits(
    admission: Admission, clock: Clock, *, rate: float, fixed: float, each: float, until: float
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
            fill(admission, len(batch) + len(queue))
            if not admission.is_too_much():
                queue.append(arrival)
            arrival += 1 / rate
        clock.now = ends
        if batch:
            admission.observe(len(batch), seconds)
        yield from (ends - begun for begun in batch)


@pytest.mark.parametrize("factor", [2, 5, 10])
@pytest.mark.parametrize(("fixed", "each"), [(0.004, 0.000_12), (0.1, 0.000_5), (0.02, 0.000_02)])
def test_whoever_is_accepted_in_an_overload_waits_three_times_as_long_at_the_most(
    fixed: float, each: float, factor: int
) -> None:
    """A model of the queue, not of the machine: what `make soak` measures is the machine's answer."""
    clock = Clock()
    admission = opened(clock)
    capacity = 64 / (fixed + 64 * each)  # of 128 clients, half of which wait while the other half is served
    asked = partial(waits, admission, clock, fixed=fixed, each=each)
    calm = sorted(asked(rate=capacity / 10, until=clock.now + 20))
    list(asked(rate=capacity * factor, until=clock.now + 1))  # the house fills up, and empties
    begun = clock.now
    hard = sorted(asked(rate=capacity * factor, until=begun + 5))
    assert hard[int(len(hard) * 0.99)] <= 3 * calm[int(len(calm) * 0.99)]
    # Where a flush costs little, short queues carry less than those 128 clients; where it costs much, more.
    assert len(hard) / (clock.now - begun) >= 0.85 * capacity
