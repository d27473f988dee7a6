"""A small world around a coalescer: callers, a flush that goes wrong in every way, a shutdown, and an observer.

Everything happens by schedule in virtual time. `World.run` plays a schedule; what must be true at that moment is
asserted on the way, and what became of each item is judged at the end.
"""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto

from servicekit.concurrency.coalescer import GROUP_ITEMS_MIN, Coalescer, Limits
from servicekit.concurrency.core_share import CoreShare
from servicekit.errors import DomainError, IdempotencyKeyReused, Invalid, NotRecorded, OutcomeUnknown, Overloaded
from tests.servicekit.simulation import simulate

# Every moment is a multiple of this, which a float holds exactly: two things can happen at the very same instant.
TICK_SECONDS = 0.125


class Ending(Enum):
    """How a flush ends."""

    FINE = auto()
    NOT_RECORDED = auto()
    OUTCOME_UNKNOWN = auto()
    CONFLICT = auto()  # as a whole: not one of the errors that a flush may raise
    BUG = auto()
    CANCELLED_FROM_WITHIN = auto()
    ONE_OUTCOME_TOO_FEW = auto()
    ONE_OUTCOME_TOO_MANY = auto()
    NEVER = auto()
    DEAF = auto()  # to its cancellation; it goes on, and fails in the end


@dataclass(frozen=True)
class Call:
    """One caller, who may lose patience. Several items are begun together. All times are in ticks."""

    at: int
    lifetime: int
    items: int | None = None  # None: one, through `submit`
    patience: int | None = None


@dataclass(frozen=True)
class Flush:
    """What the n-th flush does; `refused` are positions in its batch whose outcome is an error of their own."""

    ending: Ending = Ending.FINE
    takes: int = 1
    refused: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Schedule:
    calls: Sequence[Call]
    flushes: Sequence[Flush] = ()  # those beyond the last are fine
    batch_rows_max: int = 10
    queue_rows_max: int = 100
    least: int = 0
    close_at: int = 1000
    drain: int = 0
    # What of a core the process has, and the least number of items of each of two groups.
    core_share: float = 0.0
    group_items_min: int = GROUP_ITEMS_MIN


class Fate(Enum):
    """What an item's caller was told."""

    STORED = auto()
    REFUSED = auto()
    NOT_RECORDED = auto()
    OVERLOADED = auto()
    UNKNOWN = auto()
    WITHDRAWN = auto()


@dataclass(eq=False)
class Item:
    number: int
    submitted_at: float
    deadline: float
    refusal: str | None = None  # the queue was full, or the service shutting down
    withdrawn_at: float | None = None
    answered_at: float | None = None
    answer: object = None
    flush: "FlushRun | None" = None


@dataclass(eq=False)
class FlushRun:
    plan: Flush
    items: list[Item]
    begun_at: float
    deadline: float
    ended_at: float | None = None

    def occupies_until(self) -> float:
        """When the coalescer stops waiting for it: at its deadline, if it does not end before."""
        return self.deadline if self.ended_at is None else min(self.ended_at, self.deadline)


def core_share(share: float) -> CoreShare:
    """A process that has so much of a core whenever it is measured."""
    passed, ran = itertools.count(), itertools.count()
    return CoreShare(lambda: next(passed), lambda: share * next(ran))


REFUSALS = (IdempotencyKeyReused("taken"), Invalid.single("too long", "body", "userKey"), NotRecorded("locked"))


@dataclass
class World:
    schedule: Schedule
    items: list[Item] = field(default_factory=list)
    flushes: list[FlushRun] = field(default_factory=list)
    closed_at: float | None = None
    violation: AssertionError | None = None

    def run(self) -> "World":
        simulate(self._play)
        if self.violation is not None:
            raise self.violation
        return self

    def fates(self) -> list[Fate]:
        """In the order of submission."""
        return [fate(item) for item in self.items]

    def answered_at(self) -> list[float | None]:
        """In ticks, in the order of submission; None for callers who went away."""
        return [None if item.answered_at is None else item.answered_at / TICK_SECONDS for item in self.items]

    def batches(self) -> list[list[int]]:
        return [[item.number for item in run.items] for run in self.flushes]

    async def _play(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._coalescer: Coalescer[Item, str] = Coalescer(
            self._flush,
            Limits(
                batch_rows_max=self.schedule.batch_rows_max,
                queue_rows_max=self.schedule.queue_rows_max,
                remaining_seconds_min=self.schedule.least * TICK_SECONDS,
                group_items_min=self.schedule.group_items_min,
            ),
            clock=self._loop.time,
            core=core_share(self.schedule.core_share),
        )
        callers = [self._loop.create_task(self._call(call)) for call in self.schedule.calls]
        await asyncio.sleep(self.schedule.close_at * TICK_SECONDS)
        self.closed_at = self._loop.time()
        await self._coalescer.close(self.schedule.drain * TICK_SECONDS)
        assert self._loop.time() <= self.closed_at + self.schedule.drain * TICK_SECONDS
        await asyncio.wait(callers)
        for caller in callers:
            caller.result()
        assert len(self._coalescer) == 0
        self._over.set()

    async def _call(self, call: Call) -> None:
        await asyncio.sleep(call.at * TICK_SECONDS)
        submission = asyncio.create_task(self._submit(call))
        if call.patience is not None:
            await asyncio.sleep(call.patience * TICK_SECONDS)
            submission.cancel()
        with suppress(asyncio.CancelledError):
            await submission

    async def _submit(self, call: Call) -> None:
        now = self._loop.time()
        deadline = now + call.lifetime * TICK_SECONDS
        items = [self._new_item(now, deadline, position) for position in range(call.items or 1)]
        answers: Sequence[object]
        try:
            if call.items is None:
                answers = [await self._coalescer.submit(items[0], deadline)]
            else:
                begun = [self._coalescer.begin(item, deadline) for item in items]
                answers = await asyncio.gather(*begun, return_exceptions=True)
        except asyncio.CancelledError:
            for item in items:
                item.withdrawn_at = self._loop.time()
            raise
        except DomainError as error:
            answers = [error]
        for item, answer in zip(items, answers, strict=True):
            item.answer, item.answered_at = answer, self._loop.time()

    def _new_item(self, now: float, deadline: float, position: int) -> Item:
        item = Item(len(self.items), now, deadline)
        if self.closed_at is not None:
            item.refusal = "shutting down"
        elif len(self._coalescer) + position >= self.schedule.queue_rows_max:
            item.refusal = "full"
        self.items.append(item)
        return item

    async def _flush(self, items: Sequence[Item], deadline: float) -> Sequence[str | DomainError]:
        number = len(self.flushes)
        plan = self.schedule.flushes[number] if number < len(self.schedule.flushes) else Flush()
        run = FlushRun(plan, list(items), self._loop.time(), deadline)
        try:
            self._check_begin(run)
        except AssertionError as violation:
            self.violation = violation  # or the coalescer would take it for a flush that failed
            raise
        self.flushes.append(run)
        for item in items:
            item.flush = run
        try:
            return await self._outcomes(run)
        finally:
            run.ended_at = self._loop.time()

    async def _outcomes(self, run: FlushRun) -> Sequence[str | DomainError]:
        plan = run.plan
        if plan.ending is Ending.NEVER:
            await self._loop.create_future()
        if plan.ending is Ending.DEAF:
            while not self._over.is_set():
                with suppress(asyncio.CancelledError):
                    await self._over.wait()
            raise ValueError("a deaf flush fails, and nobody listens any more")
        await asyncio.sleep(plan.takes * TICK_SECONDS)
        raised: dict[Ending, BaseException] = {
            Ending.NOT_RECORDED: NotRecorded("the database is away"),
            Ending.OUTCOME_UNKNOWN: OutcomeUnknown("the connection was lost"),
            Ending.CONFLICT: IdempotencyKeyReused("as a whole"),
            Ending.BUG: ZeroDivisionError(),
            Ending.CANCELLED_FROM_WITHIN: asyncio.CancelledError(),
        }
        if plan.ending in raised:
            raise raised[plan.ending]
        outcomes = [
            REFUSALS[position % len(REFUSALS)] if position in plan.refused else f"stored {item.number}"
            for position, item in enumerate(run.items)
        ]
        if plan.ending is Ending.ONE_OUTCOME_TOO_FEW:
            return outcomes[1:]
        if plan.ending is Ending.ONE_OUTCOME_TOO_MANY:
            return [*outcomes, "stored nobody"]
        return outcomes

    def _check_begin(self, run: FlushRun) -> None:
        """What must be true of every flush at the moment it begins."""
        now = run.begun_at
        numbers = [item.number for item in run.items]
        assert 0 < len(numbers) <= self.schedule.batch_rows_max
        flushed_before = [number for batch in self.batches() for number in batch]
        assert numbers == sorted(numbers)
        assert not flushed_before or numbers[0] > max(flushed_before), "out of order, or for a second time"
        assert run.deadline == min(item.deadline for item in run.items)
        assert now + self.schedule.least * TICK_SECONDS <= run.deadline, "flushed after a deadline"
        for item in run.items:
            assert item.refusal is None
            assert item.withdrawn_at is None or item.withdrawn_at == now, "withdrawn, and flushed all the same"
        previous_ended = max((before.occupies_until() for before in self.flushes), default=0.0)
        assert previous_ended <= now, "two flushes at a time"
        assert now == max(run.items[0].submitted_at, previous_ended), "a delay that nobody asked for"


def fate(item: Item) -> Fate:
    if item.withdrawn_at is not None:
        return Fate.WITHDRAWN
    if item.answer == f"stored {item.number}":
        return Fate.STORED
    if isinstance(item.answer, OutcomeUnknown):
        return Fate.UNKNOWN
    if isinstance(item.answer, Overloaded):
        return Fate.OVERLOADED
    if any(_same(item.answer, refusal) for refusal in REFUSALS):
        return Fate.REFUSED
    assert type(item.answer) is NotRecorded, item
    return Fate.NOT_RECORDED


def _same(answer: object, refusal: DomainError) -> bool:
    return type(answer) is type(refusal) and str(answer) == str(refusal) and vars(answer) == vars(refusal)
