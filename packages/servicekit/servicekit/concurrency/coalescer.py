"""Collects the items of many callers into one flush at a time; both hops use it.

While one flush runs, new items wait in a queue. When it ends, the next flush takes all of them, and also the items that
the event loop can deliver immediately. There is no artificial delay: if no flush runs, a new item is flushed at once.
The public service flushes into one HTTP request, the private service into one transaction.

If the process has a core to itself, many callers are served in two groups: the event loop answers one and reads its
next requests while the flush of the other runs.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from servicekit.concurrency.core_share import CoreShare
from servicekit.errors import DomainError, NotRecorded, OutcomeUnknown, Overloaded

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
# Is told of each flush: its rows, its duration in seconds, and how many of its items have an unknown outcome.
FlushObserver: TypeAlias = Callable[[int, float, int], None]

# Turns of the event loop between two flushes. In the first turn, the answered requests write to their clients; in the
# second, the sockets are read; in the third, the new requests submit their items. The turns take microseconds when
# there is little to do. Under load, the next flush carries twice as many items
# (docs/decisions/0013-coalescer-turns.md).
TURNS_BETWEEN = 3
# Callers are served in two groups if each of them has at least so many items: a flush of fewer would cost its process
# and those behind it more than the time between two flushes is worth (docs/decisions/0050-two-groups-of-callers.md).
GROUP_ITEMS_MIN = 32

_log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Of one coalescer. An item that has less than `remaining_seconds_min` left is not sent, because its early deadline
    would make the other items of its batch fail.
    """

    batch_rows_max: int
    queue_rows_max: int
    remaining_seconds_min: float
    group_items_min: int = GROUP_ITEMS_MIN


def is_other_group(waiting: int, group_items_min: int = GROUP_ITEMS_MIN) -> bool:
    """Whether items that queued while a flush ran are a group of their own, which is flushed at once."""
    return waiting >= group_items_min


def first_group(waiting: int, group_items_min: int = GROUP_ITEMS_MIN) -> int:
    """Return how many of the items that wait after the turns are flushed, so that the others become the other group."""
    return waiting // 2 if waiting >= 2 * group_items_min else waiting


@dataclass(slots=True, eq=False)
class _PendingItem(Generic[Item, Outcome]):
    item: Item
    rows: int
    deadline: float
    outcome: "asyncio.Future[Outcome]"


class Coalescer(Generic[Item, Outcome]):
    """Gives every submitted item exactly one outcome, no later than the latest deadline among it and the items queued
    before it.

    `flush(items, deadline)` returns one outcome for each item, in order. An outcome that is a `DomainError` is raised
    to its submitter alone. A flush that raises NotRecorded states that nothing of the batch was stored. After any other
    exception, after a wrong number of outcomes, and without an answer by the deadline, the outcome of the whole batch
    is unknown.

    Deadlines are readings of `clock`, in seconds. A batch is flushed under its earliest deadline, so no item is
    executed after its own deadline.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item], float], Awaitable[Sequence[Outcome | DomainError]]],
        limits: Limits,
        *,
        weigh: Callable[[Item], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
        observe: FlushObserver = lambda *_: None,
        core: CoreShare | None = None,
    ) -> None:
        """`weigh` returns the number of rows of an item; without it, an item is one row. `core` is measured while the
        event loop turns.
        """
        self.limits = limits
        self._flush = flush
        self._weigh = weigh
        self._clock = clock
        self._observe = observe
        self._core = core or CoreShare()
        self._turning: asyncio.Task[None] | None = None
        self._queued_rows = 0
        # Items that were refused since the process began, because the queue was full.
        self.refused = 0
        self._queue: deque[_PendingItem[Item, Outcome]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        """The number of rows of the items that wait for a flush."""
        return self._queued_rows

    async def submit(self, item: Item, deadline: float) -> Outcome:
        """Wait for the outcome of `item`.

        A cancelled call withdraws its item if the item has not been sent yet. It does not affect other items.

        Raises:
            NotRecorded: the item was not sent: it expired in the queue, or the process is shutting down.
            Overloaded: the item was not sent: the queue is full.
            OutcomeUnknown: the item was sent, and its outcome is not known.
        """
        return await self.begin(item, deadline)

    def begin(self, item: Item, deadline: float) -> "asyncio.Future[Outcome]":
        """Return a future of the outcome of `item`, or of the error that `submit` raises. Call it in the event loop.

        A cancelled future withdraws its item if the item has not been sent yet.
        """
        rows = 1 if self._weigh is None else self._weigh(item)
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if self._closing:
            outcome.set_exception(NotRecorded("the service is shutting down"))
        elif self._queue and self._queued_rows + rows > self.limits.queue_rows_max:
            self.refused += 1
            outcome.set_exception(Overloaded("too many requests are waiting"))
        else:
            self._queue.append(_PendingItem(item, rows, deadline, outcome))
            self._queued_rows += rows
            if self._flushing is None:
                # The flush is a task of its own: a cancelled caller does not cancel the batch.
                self._flushing = asyncio.create_task(self._flush_until_empty())
        return outcome

    async def close(self, seconds_max: float) -> None:
        """Refuse new items, flush the waiting ones, and fail those that are left after `seconds_max`."""
        self._closing = True
        if self._flushing is None:
            return
        _, unfinished = await asyncio.wait({self._flushing}, timeout=seconds_max)
        for task in unfinished:
            task.cancel()
            await asyncio.wait({task})

    async def _flush_until_empty(self) -> None:
        batch: list[_PendingItem[Item, Outcome]] = []
        try:
            items_max = len(self._queue)
            while batch := self._next_batch(items_max):
                begun = self._clock()
                unknown = await self._flush_one(batch)
                self._observe(sum(waiting.rows for waiting in batch), self._clock() - begun, unknown)
                items_max = await self._items_of_next_flush()
        finally:
            # Both are empty unless this task was cancelled at shutdown: every caller still gets an answer.
            _fail(batch, OutcomeUnknown("the service shut down before the outcome was known"))
            _fail(self._queue, NotRecorded("the service is shutting down"))
            self._queue.clear()
            self._queued_rows = 0
            self._flushing = None

    async def _items_of_next_flush(self) -> int:
        """Let the event loop turn, before the next flush or beside it, and return how many items it may take."""
        waiting = len(self._queue)
        if self._core.is_whole and is_other_group(waiting, self.limits.group_items_min):
            # The group that was just flushed is answered beside the flush of this one.
            self._turning = asyncio.create_task(self._turn())
            return waiting
        await self._turn()
        waiting = len(self._queue)
        return first_group(waiting, self.limits.group_items_min) if self._core.is_whole else waiting

    async def _turn(self) -> None:
        begun = self._core.reading()
        for _ in range(TURNS_BETWEEN):
            await asyncio.sleep(0)
        self._core.add(begun)

    def _next_batch(self, items_max: int) -> list[_PendingItem[Item, Outcome]]:
        batch: list[_PendingItem[Item, Outcome]] = []
        latest_start = self._clock() + self.limits.remaining_seconds_min
        rows = 0
        # An item that has more rows than a batch may have is flushed alone.
        while (
            self._queue
            and len(batch) < items_max
            and (not batch or rows + self._queue[0].rows <= self.limits.batch_rows_max)
        ):
            waiting = self._queue.popleft()
            self._queued_rows -= waiting.rows
            if waiting.outcome.done():
                continue  # withdrawn by its caller
            if waiting.deadline < latest_start:
                _fail([waiting], NotRecorded("it could not be stored in time"))
            else:
                batch.append(waiting)
                rows += waiting.rows
        return batch

    async def _flush_one(self, batch: list[_PendingItem[Item, Outcome]]) -> int:
        """Return the number of items whose outcome is unknown."""
        deadline = min(waiting.deadline for waiting in batch)
        flush = asyncio.ensure_future(self._flush([waiting.item for waiting in batch], deadline))
        try:
            await asyncio.wait({flush}, timeout=max(0.0, deadline - self._clock()))
        except asyncio.CancelledError:
            _cancel_flush(flush)
            raise
        if not flush.done():
            _cancel_flush(flush)
            return _fail(batch, OutcomeUnknown("no outcome was known in time"))
        error = asyncio.CancelledError() if flush.cancelled() else flush.exception()
        if isinstance(error, NotRecorded):
            return _fail(batch, error)
        if error is not None:
            if not isinstance(error, OutcomeUnknown):
                _log.error("a flush of %d failed", len(batch), exc_info=error)
            return _fail(batch, OutcomeUnknown(str(error) or "the outcome is unknown"))
        if len(flush.result()) != len(batch):
            _log.error("a flush of %d returned %d outcomes", len(batch), len(flush.result()))
            return _fail(batch, OutcomeUnknown("the outcome is unknown"))
        unknown = 0
        for waiting, outcome in zip(batch, flush.result(), strict=True):
            if isinstance(outcome, DomainError):
                unknown += _fail([waiting], outcome)
            elif not waiting.outcome.done():
                waiting.outcome.set_result(outcome)
        return unknown


def _fail(
    batch: "Sequence[_PendingItem[Item, Outcome]] | deque[_PendingItem[Item, Outcome]]", error: DomainError
) -> int:
    """Return how many outcomes are unknown by this error."""
    for waiting in batch:
        if not waiting.outcome.done():
            waiting.outcome.set_exception(_copy(error))
    return len(batch) if isinstance(error, OutcomeUnknown) else 0


def _copy(error: DomainError) -> DomainError:
    """Return a copy of `error`: an instance that many tasks raise would collect the tracebacks of all of them.

    `__init__` is not called, because its parameters may differ from the `args` of the exception.
    """
    kind = type(error)
    copy = kind.__new__(kind, *error.args)
    vars(copy).update(vars(error))
    return copy


def _cancel_flush(flush: "asyncio.Future[Any]") -> None:
    """Cancel a flush without awaiting it: a flush that ignores its cancellation must not delay the next one."""
    flush.cancel()
    flush.add_done_callback(_log_late_failure)


def _log_late_failure(flush: "asyncio.Future[Any]") -> None:
    """Log an unexpected error of a flush that ended after its batch was answered; a DomainError is no news by then."""
    if not flush.cancelled() and (error := flush.exception()) is not None and not isinstance(error, DomainError):
        _log.error("a flush failed after its deadline", exc_info=error)
