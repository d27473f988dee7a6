"""Removes the measurements of deleted devices, in small transactions of maintenance.retire_device_rows.

What must be remembered is in device_deletion, so the work goes on after any interruption.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# The rows that one transaction deletes: it takes some tens of milliseconds.
BATCH_ROWS = 5_000

# By then, no transaction that found the device is running: see the function.
DELETED_DEVICES = """
    SELECT project_id, device_number
      FROM device_deletion
     WHERE deleted_at < now() - interval '1 minute'
     ORDER BY deleted_at, project_id, device_number
"""
RETIRE_ROWS = "SELECT maintenance.retire_device_rows(%(project_id)s, %(device_number)s, %(rows)s)"


class DeviceDeletion(NamedTuple):
    """What one run did for a deleted device; it is complete when no row is left."""

    project_id: int
    device_number: int
    rows: int
    is_complete: bool


class _Device(NamedTuple):
    project_id: int
    device_number: int


def delete_devices(conn: Connection, stopping: Callable[[], bool]) -> Iterator[DeviceDeletion]:
    """Remove the measurements of each deleted device; their sums stay. `stopping` is called between transactions."""
    with conn:
        devices = fetch_all(conn, DELETED_DEVICES, {}, _Device)
    for device in devices:
        removed = 0
        is_complete = False
        while not is_complete and not stopping():
            with conn:
                [rows] = fetch_all(conn, RETIRE_ROWS, {**device._asdict(), "rows": BATCH_ROWS}, lambda number: number)
            removed += rows or 0
            is_complete = rows is None
        yield DeviceDeletion(*device, removed, is_complete)
