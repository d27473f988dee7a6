"""Group commit: one transaction for all events that were queued while the last transaction ran."""

import asyncio
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from contract.delivery import (
    NO_ROW,
    AcceptedNotCounted,
    Batch,
    Columns,
    Forward,
    ForwardedBatchResponse,
    ForwardResponse,
    OutcomeStatus,
    PositionedOutcome,
)
from contract.metric_names import EVENTS
from device_registration_api.events.batches import record_batch, record_batch_carefully
from device_registration_api.events.deferring import Deferring
from device_registration_api.events.recording import Recorded, record, record_carefully
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from device_registration_api.inbox.storing import Inbox
from device_registration_api.metrics.outcomes import OutcomeCounts
from device_registration_api.personal.peppers import DailyPeppers
from servicekit.concurrency.coalescer import Coalescer, FlushObserver, Limits
from servicekit.database.commit import repeat_until_known
from servicekit.database.copy_encoding import Repeated
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import DomainError, OutcomeUnknown
from servicekit.tracing.spans import Spans

SLOTS = 16  # as in init.sql
BATCH_ROWS_MAX = 1_000
QUEUE_ROWS_MAX = 10_000
REMAINING_SECONDS_MIN = 0.05
_NO_ROW = NO_ROW.encode()

Result = TypeVar("Result")


class ForwardRecorded(NamedTuple):
    """The response to a forward, and the rows that follow it, for each event one or NO_ROW; none of most kinds."""

    response: ForwardResponse
    rows: Sequence[bytes]


def slot_of(instance_id: str) -> int:
    """Return the counter slot of a process. Writers in different slots update different rows, so they do not wait for
    each other's commit.
    """
    return zlib.crc32(instance_id.encode()) % SLOTS


class Observers(NamedTuple):
    """`counts` gets the outcome of each event, `flushed` is called after each flush, `spans` traces them."""

    counts: OutcomeCounts
    flushed: FlushObserver
    spans: Spans


class EventWriter(Generic[Columns]):
    """The only writer of one kind of event in this process: one transaction at a time for all forwards that wait, and
    one for each client's batch.
    """

    def __init__(
        self,
        database: Database,
        table: EventTable[Columns],
        slot: int,
        peppers: DailyPeppers,
        observers: Observers,
        inbox: Inbox | None = None,
    ) -> None:
        """Without an `inbox`, no event is deferred."""
        counts, flushed, self._spans = observers
        self.table = table
        self._counts = counts
        self._peppers = peppers
        self._database = database
        self._slot = slot
        new_coalescer = partial(
            Coalescer[Forward[Columns], ForwardRecorded],
            limits=Limits(BATCH_ROWS_MAX, QUEUE_ROWS_MAX, REMAINING_SECONDS_MIN),
            weigh=lambda forward: len(forward.event_ids),
            observe=flushed,
        )
        self.coalescer = new_coalescer(self._flush)
        self._deferring = None if inbox is None else Deferring(table, inbox)
        # That of deferrable events, which wait for nobody else.
        self._second = None if inbox is None else new_coalescer(self._flush_deferrable)

    def queues(self) -> dict[str, Coalescer[Forward[Columns], ForwardRecorded]]:
        """The coalescers, by the names that metrics show."""
        queues = {self.table.kind: self.coalescer}
        return queues if self._second is None else queues | {f"{self.table.kind}, deferrable": self._second}

    async def record(self, forward: Forward[Columns], deadline: float) -> ForwardRecorded:
        """Returns after COMMIT: an outcome for each event.

        Raises:
            NotRecorded: none of the events is stored.
            OutcomeUnknown: it is unknown whether the events are stored.
        """
        columns = await self.table.arrived(forward.columns, forward.project_ids, self._peppers)
        if columns is not forward.columns:
            forward = forward.model_copy(update={"columns": columns})
        if self._second is None or not forward.deferrable:
            return await self.coalescer.submit(forward, deadline)
        if len({*forward.deferrable}) == len(forward.event_ids):
            return await self._second.submit(forward, deadline)
        return await self._record_apart(forward, self._second, deadline)

    async def record_batch(
        self, batch: Batch[Columns], deadline: float, request_id: str
    ) -> ForwardedBatchResponse | AcceptedNotCounted:
        """Returns after COMMIT of a transaction of its own. Raises as `record`, and IdempotencyKeyReused."""
        project_ids = Repeated(batch.project_id, len(batch.columns))
        columns = await self.table.arrived(batch.columns, project_ids, self._peppers)
        batch = batch.model_copy(update={"columns": columns})
        attempt = partial(record_batch, table=self.table, batch=batch, slot=self._slot)
        fallback = partial(record_batch_carefully, table=self.table, batch=batch, slot=self._slot)
        run = partial(self._run, attempt, fallback)
        name, attributes = f"record a batch of {self.table.kind}", {EVENTS: len(batch.columns)}
        try:
            with self._spans.of_request(name, attributes, request_id):
                if self._deferring is not None and batch.deferrable:
                    recorded = await self._deferring.record_batch(batch, run, deadline)
                else:
                    recorded = await run(deadline)
        except DomainError as error:
            self._counts.add_failure(len(batch.columns), error)
            raise
        if isinstance(recorded, AcceptedNotCounted):
            self._counts.add(OutcomeStatus.ACCEPTED, len(batch.columns))
            return recorded
        if self._deferring is not None:
            self._deferring.remember(project_ids, batch.columns, recorded.outcomes)
        self._counts.add_batch(recorded.answer)
        return recorded.answer

    async def close(self, seconds_max: float) -> None:
        """Record the waiting events, then fail those that are left."""
        await asyncio.gather(*(each.close(seconds_max) for each in self.queues().values()))

    async def _record_apart(
        self, forward: Forward[Columns], second: Coalescer[Forward[Columns], ForwardRecorded], deadline: float
    ) -> ForwardRecorded:
        """Record the deferrable events and the others at the same time: neither waits for the other ones."""
        deferrable = {*forward.deferrable}
        parts = [
            ([place for place in range(len(forward.event_ids)) if (place in deferrable) is is_deferrable], coalescer)
            for is_deferrable, coalescer in ((False, self.coalescer), (True, second))
        ]
        results = await asyncio.gather(
            *(coalescer.submit(forward.select(positions), deadline) for positions, coalescer in parts),
            return_exceptions=True,
        )
        return _joined((positions, result) for (positions, _), result in zip(parts, results, strict=True))

    async def _flush(self, forwards: Sequence[Forward[Columns]], deadline: float) -> Sequence[ForwardRecorded]:
        try:
            return await self._record(forwards, deadline)
        except DomainError as error:
            self._counts.add_failure(_length(forwards), error)
            raise

    async def _flush_deferrable(
        self, forwards: Sequence[Forward[Columns]], deadline: float
    ) -> Sequence[ForwardRecorded]:
        assert self._deferring is not None  # noqa: S101 - or there is no second coalescer
        try:
            recorded = await self._deferring.record(forwards, partial(self._record, forwards), deadline)
        except DomainError as error:
            self._counts.add_failure(_length(forwards), error)
            raise
        return [self._counted(each) if isinstance(each, ForwardResponse) else each for each in recorded]

    def _counted(self, response: ForwardResponse) -> ForwardRecorded:
        """Count the outcomes of events that are in no transaction of the first database."""
        for each in response.exceptions:
            self._counts.add(each.status)
        return ForwardRecorded(response, [])

    async def _record(self, forwards: Sequence[Forward[Columns]], deadline: float) -> Sequence[ForwardRecorded]:
        rows = Rows.of_forwards(forwards)
        attempt = partial(record, table=self.table, rows=rows, slot=self._slot)
        fallback = partial(record_carefully, table=self.table, rows=rows, slot=self._slot)
        # A forward has the id of its first event. Of several forwards, the first is the parent of the span.
        first, *others = (next(iter(each.request_ids), "") for each in forwards)
        with self._spans.of_request(f"record {self.table.kind}", {EVENTS: len(rows)}, first, others):
            recorded = await self._run(attempt, fallback, deadline)
        if self._deferring is not None:
            self._deferring.remember(rows.project_ids, rows.columns, recorded.outcomes)
        self._counts.add_flush(len(rows), recorded)
        return _responses(forwards, recorded)

    async def _run(
        self, attempt: Callable[[Lease], Result], fallback: Callable[[Lease], Result], deadline: float
    ) -> Result:
        work = partial(repeat_until_known, attempt=attempt, fallback=fallback)
        return await self._database.run(work, deadline - time.monotonic())


def _length(forwards: Sequence[Forward[Columns]]) -> int:
    return sum(len(forward.event_ids) for forward in forwards)


def _joined(parts: Iterable[tuple[Sequence[int], ForwardRecorded | BaseException]]) -> ForwardRecorded:
    """Return one response of those to parts of a forward, which are at these positions; a part may have failed."""
    number = 0
    exceptions: list[PositionedOutcome] = []
    rows: dict[int, bytes] = {}
    for positions, result in parts:
        if isinstance(result, DomainError):
            is_unknown = isinstance(result, OutcomeUnknown)
            status = OutcomeStatus.OUTCOME_UNKNOWN if is_unknown else OutcomeStatus.NOT_RECORDED
            exceptions += [PositionedOutcome(status=status, detail=str(result), position=each) for each in positions]
        elif isinstance(result, BaseException):
            raise result
        else:
            number += result.response.recorded
            exceptions += [
                each.model_copy(update={"position": positions[each.position]}) for each in result.response.exceptions
            ]
            rows |= zip(positions, result.rows, strict=False)  # a kind without rows has none
    events = number + len(exceptions)
    response = ForwardResponse.model_construct(recorded=number, exceptions=exceptions)
    return ForwardRecorded(response, [rows.get(position, _NO_ROW) for position in range(events)] if rows else [])


def _responses(forwards: Sequence[Forward[Columns]], recorded: Recorded) -> list[ForwardRecorded]:
    """Return one response for each forward. The positions of `recorded` are among the events of all forwards."""
    lengths = [len(forward.event_ids) for forward in forwards]
    starts = accumulate(lengths, initial=0)
    return [_response(range(start, start + length), recorded) for start, length in zip(starts, lengths, strict=False)]


def _response(positions: range, recorded: Recorded) -> ForwardRecorded:
    outcomes, rows = recorded
    exceptions = [
        PositionedOutcome.model_construct(status=outcome.status, detail=outcome.detail, position=place)
        for place, position in enumerate(positions if outcomes else ())
        if (outcome := outcomes.get(position)) is not None
    ]
    response = ForwardResponse.model_construct(recorded=len(positions) - len(exceptions), exceptions=exceptions)
    return ForwardRecorded(response, [rows.get(position, _NO_ROW) for position in positions] if rows else [])
