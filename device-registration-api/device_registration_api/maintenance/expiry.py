"""Deletes expired rows in small transactions: minute buckets, idempotency keys, deliveries of webhooks."""

from collections.abc import Callable
from datetime import datetime, timedelta

from psycopg2 import sql

from contract.time_series import MINUTES_KEPT
from device_registration_api.maintenance.catalogue import FactTable, columns
from servicekit.database import Connection
from servicekit.database.sql import Statement, execute

IDEMPOTENCY_KEPT = timedelta(hours=48)
DELIVERIES_KEPT = timedelta(days=30)
# The rows that one transaction deletes, approximately: it takes milliseconds, so no writer waits long for it.
BATCH_ROWS = 5_000

# By group and bucket, so the slots of one counter go together.
DELETE_OLD_MINUTES = sql.SQL("""
    DELETE FROM {minutes}
     WHERE ({group_columns}, bucket_start) IN (
           SELECT {group_columns}, bucket_start
             FROM {minutes}
            WHERE bucket_start < %(bound)s
            ORDER BY bucket_start
            LIMIT %(rows)s)
""")
DELETE_OLD_KEYS = """
    DELETE FROM idempotency
     WHERE (project_id, key) IN (
           SELECT project_id, key
             FROM idempotency
            WHERE created_at < %(bound)s
            ORDER BY created_at
            LIMIT %(rows)s)
"""
DELETE_OLD_DELIVERIES = """
    DELETE FROM webhook_delivery
     WHERE (project_id, delivery_id) IN (
           SELECT project_id, delivery_id
             FROM webhook_delivery
            WHERE finished_at < %(bound)s
            ORDER BY finished_at
            LIMIT %(rows)s)
"""


def delete_old_minutes(conn: Connection, table: FactTable, now: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the minute buckets that begin more than MINUTES_KEPT ago, and return the number of rows."""
    statement = DELETE_OLD_MINUTES.format(
        minutes=table.table("minute"), group_columns=columns(table.groups_of("minute"))
    )
    return _delete_in_batches(conn, statement, now - MINUTES_KEPT, stopping)


def delete_old_keys(conn: Connection, now: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the idempotency keys that were claimed more than 48 hours ago, and return the number of rows."""
    return _delete_in_batches(conn, DELETE_OLD_KEYS, now - IDEMPOTENCY_KEPT, stopping)


def delete_old_deliveries(conn: Connection, now: datetime, stopping: Callable[[], bool]) -> int:
    """Delete the deliveries of webhooks that ended more than 30 days ago, and return the number of rows."""
    return _delete_in_batches(conn, DELETE_OLD_DELIVERIES, now - DELIVERIES_KEPT, stopping)


def _delete_in_batches(conn: Connection, statement: Statement, bound: datetime, stopping: Callable[[], bool]) -> int:
    deleted = 0
    while not stopping():
        with conn:
            rows = execute(conn, statement, {"bound": bound, "rows": BATCH_ROWS})
        deleted += rows
        if rows < BATCH_ROWS:
            break
    return deleted
