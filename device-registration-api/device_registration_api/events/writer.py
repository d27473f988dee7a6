"""Group commit: one transaction for all events that were queued while the last transaction ran."""

import time
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Generic, NamedTuple, TypeVar

from contract.delivery import (
    NO_ROW,
    Batch,
    Columns,
    Forward,
    ForwardedBatchResponse,
    ForwardResponse,
    PositionedOutcome,
)
from contract.metric_names import EVENTS
from device_registration_api.events.batches import record_batch, record_batch_carefully
from device_registration_api.events.recording import Recorded, record, record_carefully
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from device_registration_api.metrics.outcomes import OutcomeCounts
from device_registration_api.personal.peppers import DailyPeppers
from servicekit.concurrency.coalescer import Coalescer, FlushObserver
from servicekit.database.commit import repeat_until_known
from servicekit.database.copy_encoding import Repeated
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import DomainError
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
        *,
        counts: OutcomeCounts,
        flushed: FlushObserver,
        spans: Spans,
    ) -> None:
        """`counts` gets the outcome of each event, `flushed` is called after each flush; `spans` traces them."""
        self._spans = spans
        self.table = table
        self._counts = counts
        self._peppers = peppers
        self._database = database
        self._slot = slot
        self.coalescer: Coalescer[Forward[Columns], ForwardRecorded] = Coalescer(
            self._flush,
            batch_rows_max=BATCH_ROWS_MAX,
            queue_rows_max=QUEUE_ROWS_MAX,
            remaining_seconds_min=REMAINING_SECONDS_MIN,
            weigh=lambda forward: len(forward.event_ids),
            observe=flushed,
        )

    async def record(self, forward: Forward[Columns], deadline: float) -> ForwardRecorded:
        """Returns after COMMIT: an outcome for each event.

        Raises:
            NotRecorded: none of the events is stored.
            OutcomeUnknown: it is unknown whether the events are stored.
        """
        columns = await self.table.arrived(forward.columns, forward.project_ids, self._peppers)
        if columns is not forward.columns:
            forward = forward.model_copy(update={"columns": columns})
        return await self.coalescer.submit(forward, deadline)

    async def record_batch(self, batch: Batch[Columns], deadline: float, request_id: str) -> ForwardedBatchResponse:
        """Returns after COMMIT of a transaction of its own. Raises as `record`, and IdempotencyKeyReused."""
        project_ids = Repeated(batch.project_id, len(batch.columns))
        columns = await self.table.arrived(batch.columns, project_ids, self._peppers)
        batch = batch.model_copy(update={"columns": columns})
        attempt = partial(record_batch, table=self.table, batch=batch, slot=self._slot)
        fallback = partial(record_batch_carefully, table=self.table, batch=batch, slot=self._slot)
        name, attributes = f"record a batch of {self.table.kind}", {EVENTS: len(batch.columns)}
        with self._spans.of_request(name, attributes, request_id):
            response = await self._run(attempt, fallback, deadline, len(batch.columns))
        self._counts.add_batch(response)
        return response

    async def close(self, seconds_max: float) -> None:
        """Record the waiting events, then fail those that are left."""
        await self.coalescer.close(seconds_max)

    async def _flush(self, forwards: Sequence[Forward[Columns]], deadline: float) -> Sequence[ForwardRecorded]:
        rows = Rows.of_forwards(forwards)
        attempt = partial(record, table=self.table, rows=rows, slot=self._slot)
        fallback = partial(record_carefully, table=self.table, rows=rows, slot=self._slot)
        # A forward has the id of its first event. Of several forwards, the first is the parent of the span.
        first, *others = (next(iter(each.request_ids), "") for each in forwards)
        with self._spans.of_request(f"record {self.table.kind}", {EVENTS: len(rows)}, first, others):
            recorded = await self._run(attempt, fallback, deadline, len(rows))
        self._counts.add_flush(len(rows), recorded)
        return _responses(forwards, recorded)

    async def _run(
        self, attempt: Callable[[Lease], Result], fallback: Callable[[Lease], Result], deadline: float, rows: int
    ) -> Result:
        work = partial(repeat_until_known, attempt=attempt, fallback=fallback)
        try:
            return await self._database.run(work, deadline - time.monotonic())
        except DomainError as error:
            self._counts.add_failure(rows, error)
            raise


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
