"""Sabotage: counters grow by the rows sent instead of the rows inserted."""

from typing import Any

from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from servicekit.database import Connection

_insert = EventTable.insert


def _insert_and_report_all(self: EventTable[Any], conn: Connection, rows: Rows[Any]) -> list[int]:
    _insert(self, conn, rows)
    return list(range(len(rows)))


EventTable.insert = _insert_and_report_all  # type: ignore[method-assign]
