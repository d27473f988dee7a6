"""Stores the events of one table of the source, a chunk in each transaction."""

import asyncio
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, NamedTuple

import psycopg2
from psycopg2 import sql

from contract.delivery import Columns, OutcomeStatus
from device_registration_api.events.importing import STORED, Completed, find_stored, record_imported
from device_registration_api.events.presences import Presence
from device_registration_api.events.recording import Outcomes
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from device_registration_api.events.writer import slot_of
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.source import EARLIEST
from device_registration_api.imports.target import Target
from device_registration_api.schema.connect import CommandError
from servicekit.database.sql import fetch_all
from servicekit.process import clock
from servicekit.process.progress import Progress

_SLOT = slot_of("import")
# Two zones are at most 26 hours from each other.
_ZONES_APART_MAX = timedelta(hours=26)
_ROWS_COMPARED = 100

# Of one week or two, so not all facts of the project are read.
FIND_ELSEWHERE = sql.SQL("""
    SELECT count(*)
      FROM {fact} AS f
      JOIN unnest(%(event_ids)s::uuid[], %(received_at)s::timestamptz[]) AS sent(event_id, received_at)
           USING (event_id)
     WHERE f.project_id = ANY(%(project_ids)s) AND f.received_at >= %(starts)s AND f.received_at <= %(ends)s
       AND f.received_at <> sent.received_at
""")


class Chunk(NamedTuple, Generic[Columns]):
    """Rows to store, and the id of each in the source."""

    row_ids: Sequence[object]
    rows: Rows[Columns]


@dataclass
class Recorder(Generic[Columns]):
    """Stores chunks one after the other; while one is stored, the caller reads the next, and it is encoded here: the
    database and this process have one core each.
    """

    target: Target
    table: EventTable[Columns]
    report: TableReport
    progress: Progress
    _pending: "tuple[Chunk[Columns], asyncio.Task[Outcomes]] | None" = None
    # What the pending chunk counts, if all of it is stored.
    _presences: Set[Presence] = frozenset()
    _kept: dict[int, int | None] = field(default_factory=dict)
    _is_repeat: bool = False
    _is_first: bool = True

    async def add(self, chunk: Chunk[Columns]) -> None:
        """Encode a chunk, and begin to store it when the one before it is stored.

        Raises:
            CommandError: it was imported before, with other times.
            NotRecorded, OutcomeUnknown: the database cannot be used.
        """
        chunk = self._young(chunk)
        if not chunk.row_ids:
            return
        if self._is_first:
            self._compare_times(chunk.rows)
            self._is_first = False
        if self.target.is_dry_run:
            with self.target.conn:
                self._account(chunk, dict.fromkeys(find_stored(self.target.conn, self.table, chunk.rows), STORED))
            return
        now = clock.now()
        completed = await self._completed(chunk.rows, now)
        if not await self._finish_plainly():
            # It was encoded as if all of the chunk before were stored.
            completed = completed._replace(encoded=None)
        self._presences = frozenset() if completed.encoded is None else completed.encoded.presences
        self.target.make_weeks(self.table.fact, chunk.rows.received_at)
        work = partial(
            record_imported,
            table=self.table,
            completed=completed,
            slot=_SLOT,
            now=now,
            is_repeat=self._is_repeat,
        )
        self._pending = chunk, asyncio.create_task(self.target.run(work))
        # The thread of the database has it when this returns.
        await asyncio.sleep(0)

    async def finish(self) -> None:
        """Wait until everything is stored. Raises as `add`."""
        await self._finish_plainly()

    async def _finish_plainly(self) -> bool:
        """Wait until everything is stored. False: not all of the last chunk was."""
        if self._pending is None:
            return True
        (chunk, task), self._pending = self._pending, None
        outcomes = await task
        self._account(chunk, outcomes)
        return not outcomes

    async def _completed(self, rows: Rows[Columns], now: datetime) -> Completed[Columns]:
        rows = await self.target.run(lambda lease: self.table.complete(lease, rows))
        if self._is_repeat:
            return Completed(rows, None)
        try:
            return Completed(rows, self.table.encoded(rows, _SLOT, now, counted=self._presences))
        except psycopg2.DataError:
            # When it is stored, the row that cannot be is found.
            return Completed(rows, None)

    def _young(self, chunk: Chunk[Columns]) -> Chunk[Columns]:
        """Refuse the rows that `maintain` would take away: a repeat would not find them, and count them again."""
        rows = chunk.rows
        for project_id in set(rows.project_ids) - self._kept.keys():
            self._kept[project_id] = self.target.kept_days(self.table.fact, project_id)
        now = clock.now()
        bounds = {each: EARLIEST if days is None else now - timedelta(days=days) for each, days in self._kept.items()}
        if not chunk.row_ids or min(rows.received_at) >= max(bounds.values()):
            return chunk
        places = []
        for place, (project_id, at) in enumerate(zip(rows.project_ids, rows.received_at, strict=True)):
            if at >= bounds[project_id]:
                places.append(place)
            else:
                self.report.refuse(
                    chunk.row_ids[place], f"older than {self._kept[project_id]} days: see RETENTION_DAYS"
                )
        self.progress.advance(len(chunk.row_ids) - len(places))
        return Chunk([chunk.row_ids[place] for place in places], rows.select(places))

    def _account(self, chunk: Chunk[Columns], outcomes: Outcomes) -> None:
        duplicate = 0
        for position, outcome in outcomes.items():
            if outcome.status is OutcomeStatus.REPLAYED:
                duplicate += 1
            else:
                self.report.refuse(chunk.row_ids[position], outcome.detail)
        # An import that goes on where another one stopped finds its rows chunk by chunk.
        self._is_repeat = duplicate == len(chunk.row_ids)
        self.report.duplicate += duplicate
        self.report.registered += len(chunk.row_ids) - len(outcomes)
        self.progress.advance(len(chunk.row_ids))

    def _compare_times(self, rows: Rows[Columns]) -> None:
        """Refuse to import the same rows with other times: they would be stored, and counted, twice."""
        times: Sequence[datetime] = list(rows.received_at)[:_ROWS_COMPARED]
        parameters = {
            "event_ids": list(rows.event_ids)[:_ROWS_COMPARED],
            "received_at": times,
            "project_ids": sorted(set(rows.project_ids)),
            "starts": min(times) - _ZONES_APART_MAX,
            "ends": max(times) + _ZONES_APART_MAX,
        }
        with self.target.conn:
            statement = FIND_ELSEWHERE.format(fact=sql.Identifier(self.table.fact))
            [elsewhere] = fetch_all(self.target.conn, statement, parameters, int)
        if elsewhere:
            raise CommandError(
                "these rows were imported before with other times: repeat with the --source-timezone of that time, or "
                "give another --source-name if they are of another installation"
            )
