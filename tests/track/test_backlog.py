"""The state machine of the sender, over schedules of events, answers and time that hypothesis makes."""

from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_statistics_track import backlog as module
from device_statistics_track.backlog import Answer, Backlog, Batch, Verdict
from device_statistics_track.event import Event

ACCEPTED = Answer(Verdict.ACCEPTED)
RETRY = Answer(Verdict.RETRY, "status 503")
UNWANTED = Answer(Verdict.UNWANTED, "status 401")
REFUSED = Answer(Verdict.REFUSED, "status 422")


def event(number: int) -> Event:
    return Event(f"/{number}", "GET", 200, 0, 0)


def new_backlog(jitter: float = 0.0) -> Backlog:
    numbers = count()
    return Backlog(lambda each: each.url_path.encode(), lambda: str(next(numbers)), lambda: jitter)


def filled(number: int, now: float = 0.0) -> Backlog:
    backlog = new_backlog()
    for index in range(number):
        backlog.record(event(index), now)
    return backlog


def next_batch(backlog: Backlog) -> Batch:
    batch = backlog.next_batch()
    assert batch is not None
    return batch


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Small limits, so that a short schedule reaches them."""
    patch.setattr(module, "EVENTS_MAX", 20)
    patch.setattr(module, "FLUSH_EVENTS", 5)
    patch.setattr(module, "BATCH_EVENTS_MAX", 12)
    patch.setattr(module, "BATCH_BYTES_MAX", 40)
    patch.setattr(module, "HALVINGS_MAX", 2)


class Account:
    """What a receiver that stores by id has, and what happened on the way to it."""

    def __init__(self) -> None:
        self.stored: set[bytes] = set()
        self.dropped = 0
        self.batch_ids: set[str] = set()
        # A repeat is the same bytes.
        self.bodies: dict[str, bytes] = {}

    def store(self, batch: Batch, rejected: int) -> None:
        assert self.bodies.setdefault(batch.id, batch.body) == batch.body
        if batch.id not in self.batch_ids:
            self.batch_ids.add(batch.id)
            self.dropped += batch.dropped
        self.stored.update(batch.lines[rejected:])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.integers(1, 15)),
        st.tuples(st.just("wait"), st.floats(0, 400)),
        st.tuples(st.just("accept"), st.integers(0, 3)),
        st.tuples(st.just("retry"), st.sampled_from([0.0, 0.5, 30.0, 100_000.0])),
        st.tuples(st.just("store and lose the answer"), st.just(0)),
        st.tuples(st.just("unwanted"), st.just(0)),
        st.tuples(st.just("refuse"), st.just(0)),
    ),
    max_size=60,
)


def answers(backlog: Backlog, account: Account, step: str, value: float) -> Iterator[tuple[Batch, Answer]]:
    """The receiver's side of one step, if a batch can be sent at all."""
    batch = backlog.next_batch()
    if batch is None:
        return
    assert len(batch.lines) <= module.BATCH_EVENTS_MAX
    assert len(batch.body) <= module.BATCH_BYTES_MAX
    if step == "accept":
        rejected = min(int(value), len(batch.lines))
        account.store(batch, rejected)
        yield batch, Answer(Verdict.ACCEPTED, rejected=rejected)
    elif step == "retry":
        yield batch, Answer(Verdict.RETRY, retry_after_seconds=value)
    elif step == "store and lose the answer":
        account.store(batch, 0)
        yield batch, RETRY
    else:
        yield batch, {"unwanted": UNWANTED, "refuse": REFUSED}[step]


@settings(max_examples=500, deadline=None)
@given(steps=STEPS, jitter=st.floats(0, 0.999))
def test_every_event_is_stored_or_counted_as_dropped(steps: list[tuple[str, float]], jitter: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        run_schedule(steps, jitter)


def deliver(backlog: Backlog, account: Account, now: float) -> float:
    """Accept every batch when it is due; the time after that."""
    while (due_in := backlog.seconds_until_due(now)) is not None:
        now += due_in
        for batch, answer in answers(backlog, account, "accept", 0):
            backlog.settle(batch, answer, now)
    return now


def run_schedule(steps: list[tuple[str, float]], jitter: float) -> None:
    backlog, account, now = new_backlog(jitter), Account(), 0.0
    recorded = 0
    answer_was_lost = False
    for step, value in steps:
        if step == "record":
            for _ in range(int(value)):
                backlog.record(event(recorded), now)
                recorded += 1
        elif step == "wait":
            now += value
        elif backlog.seconds_until_due(now) == 0:
            answer_was_lost |= step == "store and lose the answer"
            for batch, answer in answers(backlog, account, step, value):
                backlog.settle(batch, answer, now)
        assert 0 <= backlog.held <= module.EVENTS_MAX
        due_in = backlog.seconds_until_due(now)
        assert (due_in is None) == (backlog.held == 0)
        if not answer_was_lost:
            assert len(account.stored) + backlog.held + backlog.dropped + account.dropped == recorded
    # At the end everything is accepted, and one more event tells of the last dropped ones.
    now = deliver(backlog, account, now)
    backlog.record(event(recorded), now)
    recorded += 1
    deliver(backlog, account, now)
    assert backlog.held == 0
    assert backlog.dropped == 0
    if answer_was_lost:
        # Nothing is lost silently: an event that was given up after a lost answer may be both.
        assert len(account.stored) + account.dropped >= recorded
    else:
        assert len(account.stored) + account.dropped == recorded


def test_the_oldest_event_waits_one_second_at_most() -> None:
    backlog = filled(1, now=10.0)
    backlog.record(event(1), 10.9)
    assert backlog.seconds_until_due(10.25) == 0.75
    assert backlog.seconds_until_due(11.0) == 0


def test_five_hundred_events_do_not_wait() -> None:
    assert filled(499).seconds_until_due(0.0) == 1.0
    assert filled(500).seconds_until_due(0.0) == 0


def test_the_sender_is_woken_by_the_first_event_and_by_a_full_batch() -> None:
    backlog = new_backlog()
    woken = [index for index in range(1, 1001) if backlog.record(event(index), 0.0)]
    assert woken == [1, 500]


def test_nothing_to_send_is_never_due() -> None:
    assert new_backlog().seconds_until_due(0.0) is None
    assert new_backlog().next_batch() is None


def test_the_newest_are_dropped_and_the_next_batch_tells() -> None:
    backlog = filled(10_003)
    assert (backlog.held, backlog.dropped) == (10_000, 3)
    batch = next_batch(backlog)
    assert (len(batch.lines), batch.dropped) == (10_000, 3)
    assert (batch.lines[0], batch.lines[-1]) == (b"/0", b"/9999")
    backlog.record(event(10_003), 0.0)
    backlog.settle(batch, ACCEPTED, 0.0)
    assert (backlog.held, backlog.dropped) == (0, 1)


def test_the_count_is_kept_until_a_batch_is_accepted() -> None:
    backlog = filled(10_001)
    batch = next_batch(backlog)
    backlog.settle(batch, RETRY, 0.0)
    assert backlog.dropped == 1
    assert next_batch(backlog) is batch


def test_repeats_wait_longer_each_time_and_five_minutes_at_most() -> None:
    backlog, now, waits = filled(1), 1.0, []
    for _ in range(12):
        backlog.settle(next_batch(backlog), RETRY, now)
        wait = backlog.seconds_until_due(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150]


@given(st.floats(0, 0.999))
def test_jitter_spreads_the_upper_half(jitter: float) -> None:
    backlog = new_backlog(jitter)
    backlog.record(event(0), 0.0)
    backlog.settle(next_batch(backlog), RETRY, 0.0)
    wait = backlog.seconds_until_due(0.0)
    assert wait is not None
    assert 0.5 <= wait <= 1


@pytest.mark.parametrize(("asked", "least"), [(7.0, 7.0), (100_000.0, 3600.0)])
def test_a_retry_after_is_waited_for_even_in_a_hurry(asked: float, least: float) -> None:
    backlog = filled(1)
    backlog.settle(next_batch(backlog), Answer(Verdict.RETRY, retry_after_seconds=asked), 0.0)
    assert backlog.seconds_until_due(0.0) == least
    assert backlog.seconds_until_due(0.0, hurry=True) == least


def test_a_hurry_waits_neither_for_more_events_nor_for_the_backoff() -> None:
    backlog = filled(1)
    assert backlog.seconds_until_due(0.0, hurry=True) == 0
    backlog.settle(next_batch(backlog), RETRY, 0.0)
    assert backlog.seconds_until_due(0.0, hurry=True) == 0


def test_an_unwanted_batch_empties_everything_for_five_minutes() -> None:
    backlog = filled(10)
    batch = next_batch(backlog)
    backlog.record(event(10), 0.0)
    backlog.settle(batch, UNWANTED, 0.0)
    assert (backlog.held, backlog.dropped) == (0, 11)
    backlog.record(event(11), 0.0)
    assert backlog.seconds_until_due(0.0, hurry=True) == 300
    assert next_batch(backlog).dropped == 11


def test_a_refused_event_is_found_by_halves_and_the_others_arrive() -> None:
    backlog, requests = filled(64), 0
    stored: list[bytes] = []
    while backlog.held:
        batch = next_batch(backlog)
        requests += 1
        if b"/13" in batch.lines:
            backlog.settle(batch, REFUSED, 0.0)
        else:
            stored += batch.lines
            backlog.settle(batch, ACCEPTED, 0.0)
    assert stored == [f"/{index}".encode() for index in range(64) if index != 13]
    assert (backlog.dropped, requests) == (1, 13)


def test_batches_that_are_always_refused_end() -> None:
    backlog, requests = filled(10_000), 0
    while backlog.held:
        backlog.settle(next_batch(backlog), REFUSED, 0.0)
        requests += 1
    assert (backlog.dropped, requests) == (10_000, 127)


def test_a_batch_has_four_mebibytes_at_most_and_keeps_the_order() -> None:
    backlog = Backlog(lambda each: each.url_path.encode().ljust(1024 * 1024 - 1, b" "), lambda: "", lambda: 0.0)
    for index in range(5):
        backlog.record(event(index), 0.0)
    batch = next_batch(backlog)
    assert (len(batch.lines), len(batch.body)) == (4, 4 * 1024 * 1024)
    backlog.record(event(5), 0.0)
    backlog.settle(batch, ACCEPTED, 0.0)
    assert backlog.seconds_until_due(0.0) == 0
    assert [line.split()[0] for line in next_batch(backlog).lines] == [b"/4", b"/5"]
