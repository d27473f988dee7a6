"""Rows that are kept for a while only: minute buckets and idempotency keys, deleted in small transactions."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import LiteralString

from servicekit.database import Connection
from servicekit.database.sql import execute

MINUTES_KEPT = timedelta(days=35)
IDEMPOTENCY_KEPT = timedelta(hours=48)
# A transaction's worth: a few milliseconds, so that nobody waits for it.
BATCH_ROWS = 5_000

DELETE_OLD_MINUTES = """
    DELETE FROM auth_event_minute
     WHERE (project_id, device_type, bucket_start, slot) IN (
           SELECT project_id, device_type, bucket_start, slot
             FROM auth_event_minute
            WHERE bucket_start < %(bound)s
            ORDER BY bucket_start
            LIMIT %(rows)s)
"""
DELETE_OLD_KEYS = """
    DELETE FROM idempotency
     WHERE (project_id, key) IN (
           SELECT project_id, key
             FROM idempotency
            WHERE created_at < %(bound)s
            ORDER BY created_at
            LIMIT %(rows)s)
"""


def delete_old_minutes(conn: Connection, now: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the minute buckets that begin more than 35 days ago; the number of rows."""
    return _delete_in_batches(conn, DELETE_OLD_MINUTES, now - MINUTES_KEPT, stopping)


def delete_old_keys(conn: Connection, now: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the idempotency keys made more than 48 hours ago; the number of rows."""
    return _delete_in_batches(conn, DELETE_OLD_KEYS, now - IDEMPOTENCY_KEPT, stopping)


def _delete_in_batches(
    conn: Connection, statement: LiteralString, bound: datetime, stopping: Callable[[], bool]
) -> int:
    deleted = 0
    while not stopping():
        with conn:
            rows = execute(conn, statement, {"bound": bound, "rows": BATCH_ROWS})
        deleted += rows
        if rows < BATCH_ROWS:
            break
    return deleted
