"""Sabotage: counters grow by the rows sent instead of the rows stored, in the fast way and in the careful one."""

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from device_registration_api.events import recording
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from servicekit.database import Connection
from servicekit.database.round_trips import RoundTrips

_fresh = recording.fresh
_insert = EventTable.insert
_sent = threading.local()


def _remember_all(rows: Rows[Any], results: recording.Results) -> Rows[Any]:
    _sent.rows = rows
    return _fresh(rows, results)


def _count_all(
    trips: RoundTrips,
    table: EventTable[Any],
    rows: Rows[Any],
    slot: int,
    more: Sequence[bytes] = (),
    now: datetime | None = None,
) -> None:
    sent = table.encoded(_sent.rows, slot, now)
    counts = [*(statement.execute(trips.conn, parameters) for statement, parameters in sent.counts), *more]
    if rows:
        trips.copy_and_commit(table.copy(trips.conn), table.copy_data(rows), counts)
    else:
        trips.commit(counts)


def _insert_and_report_all(self: EventTable[Any], conn: Connection, rows: Rows[Any]) -> list[int]:
    _insert(self, conn, rows)
    return list(range(len(rows)))


recording.fresh = _remember_all
recording.store = _count_all
EventTable.insert = _insert_and_report_all  # type: ignore[method-assign]
