"""One transaction for everything that queued while the last one ran."""

import time
import zlib
from collections.abc import Sequence
from functools import partial

from contract.registrations import ForwardedBatch, ForwardedBatchResponse, Outcome, Registration
from device_registration_api.auth_events.registering import register, register_batch, register_carefully
from servicekit.concurrency.coalescer import Coalescer
from servicekit.database.commit import commit
from servicekit.database.pool import Database

_SLOTS = 16  # as in init.sql
BATCH_ROWS_MAX = 1_000
QUEUE_ROWS_MAX = 10_000
REMAINING_SECONDS_MIN = 0.05


class GroupCommit:
    """Turns waiting registrations into transactions, one at a time, and client batches into one each."""

    def __init__(self, database: Database, instance_id: str) -> None:
        self._database = database
        # Writers that differ here touch different counter rows, so they never wait for each other's commit.
        self._slot = zlib.crc32(instance_id.encode()) % _SLOTS
        self.coalescer: Coalescer[Registration, Outcome] = Coalescer(
            self._flush,
            batch_rows_max=BATCH_ROWS_MAX,
            queue_rows_max=QUEUE_ROWS_MAX,
            remaining_seconds_min=REMAINING_SECONDS_MIN,
        )

    async def register_batch(self, batch: ForwardedBatch, deadline: float) -> ForwardedBatchResponse:
        """Register a client's batch in a transaction of its own."""
        work = partial(
            commit,
            work=partial(register_batch, batch=batch, slot=self._slot, carefully=False),
            fallback=partial(register_batch, batch=batch, slot=self._slot, carefully=True),
        )
        return await self._database.run(work, deadline - time.monotonic())

    async def _flush(self, batch: Sequence[Registration], deadline: float) -> Sequence[Outcome]:
        work = partial(
            commit,
            work=partial(register, registrations=batch, slot=self._slot),
            fallback=partial(register_carefully, registrations=batch, slot=self._slot),
        )
        return await self._database.run(work, deadline - time.monotonic())
