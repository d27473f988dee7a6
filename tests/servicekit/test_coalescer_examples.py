"""The coalescer in single sentences; `test_coalescer.py` covers everything between them. Times are in ticks."""

import asyncio
import itertools
import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.concurrency.coalescer import Coalescer, Limits
from servicekit.errors import DomainError, Invalid, NotRecorded, Overloaded
from tests.servicekit.coalescer_world import Call, Ending, Fate, Flush, Schedule, World, core_share
from tests.servicekit.simulation import simulate

LONG = 100


def at(*moments: int, lifetime: int = LONG) -> list[Call]:
    return [Call(moment, lifetime) for moment in moments]


def test_alone_an_item_leaves_at_once() -> None:
    world = World(Schedule(at(5), [Flush(takes=2)])).run()

    assert world.answered_at() == [7]


def test_what_queues_while_a_flush_runs_leaves_together_when_it_ends() -> None:
    world = World(Schedule(at(0, 1, 2, 3), [Flush(takes=4), Flush(takes=4)])).run()

    assert world.batches() == [[0], [1, 2, 3]]
    assert world.answered_at() == [4, 8, 8, 8]


def batches_of(clients: int, core: float, group_items_min: int) -> list[int]:
    """The sizes of the flushes of clients that send again as soon as they are answered. The first one is alone."""
    batches: list[int] = []
    first_flush = asyncio.Event()

    async def flush(items: Sequence[int], _: float) -> list[int]:
        batches.append(len(items))
        first_flush.set()
        await asyncio.sleep(0.001)
        return list(items)

    async def client(coalescer: Coalescer[int, int]) -> None:
        while len(batches) < 12:
            await coalescer.submit(0, LONG)
            await asyncio.sleep(0)  # the answer is written, and the next request read

    async def program() -> None:
        coalescer: Coalescer[int, int] = Coalescer(
            flush,
            Limits(LONG, LONG, 0, group_items_min),
            clock=lambda: 0,
            core=core_share(core),
        )
        early = asyncio.create_task(client(coalescer))
        await first_flush.wait()
        await asyncio.gather(early, *(client(coalescer) for _ in range(clients - 1)))

    simulate(program)
    assert batches[0] == 1
    return batches[1:11]


@given(st.integers(2, 60), st.integers(1, 10))
def test_who_comes_again_at_once_shares_the_next_flush_with_those_who_waited(clients: int, least: int) -> None:
    assert batches_of(clients, 0.85, least) == [clients] * 10


@given(st.integers(2, 60), st.integers(1, 10))
def test_many_clients_take_turns_in_two_groups_if_the_process_has_a_core(clients: int, least: int) -> None:
    half = clients // 2
    groups = [half, clients - half] if clients >= 2 * least else [clients, clients]

    # The first of these may begin before the core was measured.
    assert batches_of(clients, 1, least)[2:] in (groups * 4, groups[::-1] * 4)


def test_a_batch_is_bounded_and_the_rest_keeps_its_place() -> None:
    world = World(Schedule([Call(0, LONG, items=5)], batch_rows_max=2)).run()

    assert world.batches() == [[0, 1], [2, 3], [4]]


def test_a_full_queue_refuses_at_once_what_it_cannot_hold() -> None:
    world = World(Schedule([*at(0), Call(1, LONG, items=2), *at(2)], [Flush(takes=5)], queue_rows_max=2)).run()

    assert world.fates() == [Fate.STORED, Fate.STORED, Fate.STORED, Fate.OVERLOADED]
    assert world.answered_at()[3] == 2


def test_one_refused_item_harms_none_of_its_neighbours() -> None:
    world = World(Schedule([Call(0, LONG, items=50)], [Flush(refused=frozenset({7}))], batch_rows_max=50)).run()

    assert world.fates() == [Fate.STORED] * 7 + [Fate.REFUSED] + [Fate.STORED] * 42


def test_a_refusal_of_many_fields_arrives_whole() -> None:
    async def program() -> None:
        sent = Invalid.single("too long", "body", "userKey")

        async def flush(_: object, __: float) -> list[str | DomainError]:
            return [sent]

        coalescer: Coalescer[str, str] = Coalescer(flush, Limits(1, 1, 0))
        with pytest.raises(Invalid) as refusal:
            await coalescer.submit("item", asyncio.get_running_loop().time() + 1)
        assert refusal.value.fields == sent.fields

    asyncio.run(program())


def test_an_item_with_too_little_time_left_is_refused_and_does_not_hurry_its_neighbours() -> None:
    calls = [*at(0), Call(1, 6), *at(1)]
    world = World(Schedule(calls, [Flush(takes=5), Flush(takes=5)], least=3)).run()

    assert world.fates() == [Fate.STORED, Fate.NOT_RECORDED, Fate.STORED]
    assert world.answered_at() == [5, 5, 10]


@pytest.mark.parametrize("ending", [Ending.NEVER, Ending.DEAF])
def test_silence_leaves_the_batch_unknown_at_its_earliest_deadline_and_the_next_one_goes(ending: Ending) -> None:
    world = World(Schedule([Call(0, 10, items=2), Call(0, 8), *at(1)], [Flush(ending)])).run()

    assert world.fates() == [Fate.UNKNOWN] * 3 + [Fate.STORED]
    assert world.answered_at() == [8, 8, 8, 9]


@pytest.mark.parametrize(
    "ending",
    [
        Ending.OUTCOME_UNKNOWN,
        Ending.BUG,
        Ending.CONFLICT,
        Ending.CANCELLED_FROM_WITHIN,
        Ending.ONE_OUTCOME_TOO_FEW,
        Ending.ONE_OUTCOME_TOO_MANY,
    ],
)
def test_a_flush_that_says_nothing_certain_leaves_its_whole_batch_unknown(ending: Ending) -> None:
    world = World(Schedule([Call(0, LONG, items=2), *at(0)], [Flush(ending)], batch_rows_max=2)).run()

    assert world.fates() == [Fate.UNKNOWN, Fate.UNKNOWN, Fate.STORED]


def test_a_flush_that_says_it_stored_nothing_is_believed() -> None:
    world = World(Schedule([Call(0, LONG, items=2)], [Flush(Ending.NOT_RECORDED)])).run()

    assert world.fates() == [Fate.NOT_RECORDED] * 2


def test_a_bug_in_a_flush_is_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    World(Schedule(at(0), [Flush(Ending.BUG)])).run()

    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_a_caller_that_goes_away_in_the_queue_takes_its_item_along() -> None:
    world = World(Schedule([*at(0), Call(1, LONG, patience=1), *at(1)], [Flush(takes=5)])).run()

    assert world.batches() == [[0], [2]]
    assert world.fates() == [Fate.STORED, Fate.WITHDRAWN, Fate.STORED]


def test_a_caller_that_goes_away_in_flight_does_not_disturb_the_flush() -> None:
    world = World(Schedule([Call(0, LONG, patience=1), *at(0)], [Flush(takes=5)])).run()

    assert world.batches() == [[0, 1]]
    assert world.fates() == [Fate.WITHDRAWN, Fate.STORED]


def test_closing_flushes_what_waits_and_refuses_what_comes() -> None:
    world = World(Schedule(at(0, 1, 3), [Flush(takes=4), Flush(takes=4)], close_at=2, drain=20)).run()

    assert world.fates() == [Fate.STORED, Fate.STORED, Fate.NOT_RECORDED]
    assert world.answered_at() == [4, 8, 3]


def test_when_the_time_to_close_is_over_everybody_is_told_what_is_known() -> None:
    world = World(Schedule(at(0, 1), [Flush(takes=50)], close_at=2, drain=10)).run()

    assert world.fates() == [Fate.UNKNOWN, Fate.NOT_RECORDED]
    assert world.answered_at() == [12, 12]


def test_closing_before_the_first_flush_began_answers_all_the_same() -> None:
    async def program() -> None:
        async def flush(items: object, _: float) -> list[str | DomainError]:
            await asyncio.get_running_loop().create_future()
            raise AssertionError(items)

        time = asyncio.get_running_loop().time
        coalescer: Coalescer[str, str] = Coalescer(flush, Limits(1, 2, 0), clock=time)
        submissions = [asyncio.create_task(coalescer.submit(item, 9.0)) for item in ("first", "second")]
        await asyncio.gather(coalescer.close(0), asyncio.wait(submissions))
        assert all(isinstance(each.exception(), DomainError) for each in submissions)

    simulate(program)


def test_an_answer_is_late_only_behind_an_item_that_may_wait_longer() -> None:
    world = World(Schedule([Call(0, 20), Call(1, 5)], [Flush(Ending.NEVER)])).run()

    assert world.fates() == [Fate.UNKNOWN, Fate.NOT_RECORDED]
    assert world.answered_at() == [20, 20]


def test_closing_twice_or_unused_is_harmless() -> None:
    async def program() -> None:
        async def flush(items: object, _: float) -> list[str | DomainError]:
            raise AssertionError(items)

        coalescer: Coalescer[str, str] = Coalescer(flush, Limits(1, 1, 0))
        await coalescer.close(1)
        await coalescer.close(1)
        with pytest.raises(NotRecorded):
            await coalescer.submit("late", 9.0)

    simulate(program)


def test_batches_and_the_queue_are_bounded_in_rows_and_a_heavy_item_leaves_alone() -> None:
    flushed: list[list[int]] = []
    waiting: list[int] = []
    go_on = asyncio.Event()

    async def program() -> list[int | BaseException]:
        async def flush(items: Sequence[int], _: float) -> list[int]:
            flushed.append(list(items))
            waiting.append(len(coalescer))
            await go_on.wait()
            return list(items)

        coalescer: Coalescer[int, int] = Coalescer(
            flush,
            Limits(5, 20, 0),
            weigh=lambda rows: rows,
            clock=lambda: 0,
        )
        first = asyncio.create_task(coalescer.submit(1, LONG))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.01, go_on.set)
        begun = [coalescer.begin(rows, LONG) for rows in [2, 3, 1, 9, 5, 1]]
        others = await asyncio.gather(*begun, return_exceptions=True)
        await first
        assert len(coalescer) == 0
        return others

    *recorded, refused = asyncio.run(program())
    assert recorded == [2, 3, 1, 9, 5]
    assert isinstance(refused, Overloaded)
    assert flushed == [[1], [2, 3], [1], [9], [5]]
    assert waiting == [20, 15, 14, 5, 0]


async def weighed(
    rows: Sequence[int], *, batch_rows_max: int, queue_rows_max: int
) -> tuple[list[list[int]], list[int]]:
    """Items of so many rows, begun together behind an item of one: the batches, and the rows of those refused."""
    batches: list[list[int]] = []
    gate = asyncio.Event()

    async def flush(items: Sequence[int], _: float) -> list[int]:
        batches.append(list(items))
        await gate.wait()
        return list(items)

    coalescer: Coalescer[int, int] = Coalescer(
        flush,
        Limits(batch_rows_max, queue_rows_max, 0),
        weigh=lambda item: item,
        clock=lambda: 0,
    )
    first = coalescer.begin(1, LONG)
    await asyncio.sleep(0)
    begun = [coalescer.begin(item, LONG) for item in rows]
    refused = [item for item, outcome in zip(rows, begun, strict=True) if outcome.done()]
    assert len(coalescer) == sum(rows) - sum(refused)
    gate.set()
    await asyncio.wait([first, *begun])
    assert len(coalescer) == 0
    assert all(isinstance(outcome.exception(), Overloaded) for outcome in begun if outcome.exception() is not None)
    return batches, refused


@given(rows=st.lists(st.integers(1, 12), max_size=20), batch_rows_max=st.integers(1, 10), queue=st.integers(1, 40))
def test_a_coalescer_counts_the_rows_of_its_items(rows: list[int], batch_rows_max: int, queue: int) -> None:
    batches, refused = asyncio.run(weighed(rows, batch_rows_max=batch_rows_max, queue_rows_max=queue))

    taken = list(rows)
    for each in refused:
        taken.remove(each)
    assert sorted(item for batch in batches for item in batch) == sorted([1, *taken])
    assert sum(taken) <= queue or len(taken) == 1  # an item that is larger than the queue waits alone
    for batch in batches:
        assert sum(batch) <= batch_rows_max or len(batch) == 1
    for batch, following in itertools.pairwise(batches[1:]):
        assert sum(batch) + following[0] > batch_rows_max  # no batch is smaller than it must be


def test_an_outcome_that_is_cancelled_withdraws_its_item() -> None:
    async def program() -> list[int]:
        flushed: list[int] = []

        async def flush(items: Sequence[int], _: float) -> list[int]:
            flushed.extend(items)
            await asyncio.sleep(0)
            return list(items)

        coalescer: Coalescer[int, int] = Coalescer(flush, Limits(LONG, LONG, 0), clock=lambda: 0)
        begun = [coalescer.begin(number, LONG) for number in range(3)]
        begun[1].cancel()
        await asyncio.wait(begun)
        return flushed

    assert asyncio.run(program()) == [0, 2]
