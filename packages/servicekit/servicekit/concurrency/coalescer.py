"""Collects the items of many callers into one flush at a time; both hops use it.

While one flush is under way, items queue; when it ends, the next flush takes all of them, and those that the event
loop can bring at once. There is no artificial delay: an item that finds no flush under way leaves at once. The public
service flushes into one HTTP request, the private service into one transaction.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from servicekit.errors import DomainError, NotRecorded, OutcomeUnknown, Overloaded

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

# Turns of the event loop between two flushes: in the first, the answered requests write to their clients, in the
# second the sockets are read, in the third those requests submit their items. They take microseconds when there is
# nothing to do; when there is much, the next flush carries twice as many (docs/decisions/0013-coalescer-turns.md).
_TURNS_BETWEEN = 3

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _PendingItem(Generic[Item, Outcome]):
    item: Item
    rows: int
    deadline: float
    outcome: "asyncio.Future[Outcome]"


class Coalescer(Generic[Item, Outcome]):
    """Gives every submitted item exactly one outcome, no later than the latest deadline among it and the items queued
    before it.

    `flush(items, deadline)` returns one outcome an item, in order. An outcome that is a `DomainError` is raised to
    its submitter alone. A flush that raises NotRecorded says that nothing of the batch was stored; any other
    exception, a wrong number of outcomes, or silence until the deadline leaves the whole batch unknown.

    Deadlines are readings of `clock`, in seconds. A batch is flushed under the earliest deadline in it, so nothing
    is executed after its own; an item with less than `remaining_seconds_min` left is not sent at all, because it would
    take its neighbours down with it.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item], float], Awaitable[Sequence[Outcome | DomainError]]],
        *,
        batch_rows_max: int,
        queue_rows_max: int,
        remaining_seconds_min: float,
        weigh: Callable[[Item], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`weigh` tells how many rows an item is, where that is not one."""
        self._flush = flush
        self._batch_rows_max = batch_rows_max
        self._queue_rows_max = queue_rows_max
        self._remaining_seconds_min = remaining_seconds_min
        self._weigh = weigh
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queued_rows = 0
        self._queue: deque[_PendingItem[Item, Outcome]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._closing = False

    def __len__(self) -> int:
        """Items that wait for a flush, in rows."""
        return self._queued_rows

    async def submit(self, item: Item, deadline: float) -> Outcome:
        """Wait for the outcome of `item`.

        A caller that is cancelled withdraws an item that has not been sent yet, and never disturbs the others.

        Raises:
            NotRecorded: never sent: expired in the queue, or the process is shutting down.
            Overloaded: never sent: the queue is full.
            OutcomeUnknown: sent, and its outcome is not known.
        """
        return await self.begin(item, deadline)

    def begin(self, item: Item, deadline: float) -> "asyncio.Future[Outcome]":
        """The outcome of `item`, or what `submit` raises; to be called in the event loop. Cancelling it withdraws an
        item that has not been sent yet.
        """
        rows = 1 if self._weigh is None else self._weigh(item)
        loop = self._loop
        if loop is None:
            # Once: each call asks the kernel for the id of the process (Python 3.11), which took 4 us an item.
            loop = self._loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        if self._closing:
            outcome.set_exception(NotRecorded("the service is shutting down"))
        elif self._queue and self._queued_rows + rows > self._queue_rows_max:
            outcome.set_exception(Overloaded("too many requests are waiting"))
        else:
            self._queue.append(_PendingItem(item, rows, deadline, outcome))
            self._queued_rows += rows
            if self._flushing is None:
                # A task of its own: a caller that goes away cannot take the batch with it.
                self._flushing = asyncio.create_task(self._flush_until_empty())
        return outcome

    async def submit_all(self, items: Sequence[Item], deadline: float) -> list[Outcome | DomainError]:
        """Wait for each of one or more independent items; what `submit` raises is returned here, in its place."""
        waiting = [self.begin(item, deadline) for item in items]
        try:
            await asyncio.wait(waiting)
        except asyncio.CancelledError:
            for outcome in waiting:
                outcome.cancel()
            raise
        outcomes: list[Outcome | DomainError] = []
        for outcome in waiting:
            error = outcome.exception()
            outcomes.append(error if isinstance(error, DomainError) else outcome.result())
        return outcomes

    async def close(self, seconds_max: float) -> None:
        """Take no more items, flush those that wait, and answer what is left after `seconds_max`."""
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
            while batch := self._next_batch():
                await self._flush_one(batch)
                for _ in range(_TURNS_BETWEEN):
                    await asyncio.sleep(0)
        finally:
            # Empty unless this task was cancelled: at shutdown, everybody still gets an answer.
            _fail(batch, OutcomeUnknown("the service shut down before the outcome was known"))
            _fail(self._queue, NotRecorded("the service is shutting down"))
            self._queue.clear()
            self._queued_rows = 0
            self._flushing = None

    def _next_batch(self) -> list[_PendingItem[Item, Outcome]]:
        batch: list[_PendingItem[Item, Outcome]] = []
        latest_start = self._clock() + self._remaining_seconds_min
        rows = 0
        # An item of more rows than a batch may have goes alone.
        while self._queue and (not batch or rows + self._queue[0].rows <= self._batch_rows_max):
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

    async def _flush_one(self, batch: list[_PendingItem[Item, Outcome]]) -> None:
        deadline = min(waiting.deadline for waiting in batch)
        flush = asyncio.ensure_future(self._flush([waiting.item for waiting in batch], deadline))
        try:
            await asyncio.wait({flush}, timeout=max(0.0, deadline - self._clock()))
        except asyncio.CancelledError:
            _cancel_flush(flush)
            raise
        if not flush.done():
            _cancel_flush(flush)
            _fail(batch, OutcomeUnknown("no outcome was known in time"))
            return
        error = asyncio.CancelledError() if flush.cancelled() else flush.exception()
        if isinstance(error, NotRecorded):
            _fail(batch, error)
        elif error is not None:
            if not isinstance(error, OutcomeUnknown):
                _log.error("a flush of %d failed", len(batch), exc_info=error)
            _fail(batch, OutcomeUnknown(str(error) or "the outcome is unknown"))
        elif len(flush.result()) != len(batch):
            _log.error("a flush of %d returned %d outcomes", len(batch), len(flush.result()))
            _fail(batch, OutcomeUnknown("the outcome is unknown"))
        else:
            for waiting, outcome in zip(batch, flush.result(), strict=True):
                if isinstance(outcome, DomainError):
                    _fail([waiting], outcome)
                elif not waiting.outcome.done():
                    waiting.outcome.set_result(outcome)


def _fail(
    batch: "Sequence[_PendingItem[Item, Outcome]] | deque[_PendingItem[Item, Outcome]]", error: DomainError
) -> None:
    for waiting in batch:
        if not waiting.outcome.done():
            waiting.outcome.set_exception(_copy(error))


def _copy(error: DomainError) -> DomainError:
    """One instance each: raised in many tasks, a shared one would collect all of their tracebacks.

    Without `__init__`: its parameters need not be the `args` of the exception.
    """
    kind = type(error)
    copy = kind.__new__(kind, *error.args)
    vars(copy).update(vars(error))
    return copy


def _cancel_flush(flush: "asyncio.Future[Any]") -> None:
    """Cancel a flush without awaiting it: one that ignores its cancellation must not hold up the next."""
    flush.cancel()
    flush.add_done_callback(_log_late_failure)


def _log_late_failure(flush: "asyncio.Future[Any]") -> None:
    """Its batch was answered long ago; only a bug is worth a line."""
    if not flush.cancelled() and (error := flush.exception()) is not None and not isinstance(error, DomainError):
        _log.error("a flush failed after its deadline", exc_info=error)
