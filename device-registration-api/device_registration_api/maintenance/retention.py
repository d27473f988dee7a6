"""Drops old weeks of facts, and adds their sums to `<fact>_retired` in the same transaction."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from device_registration_api.maintenance.catalogue import FactTable
from device_registration_api.maintenance.partitions import WEEK, week_of
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

WEEKS = """
    SELECT to_date(right(relname, 8), 'YYYYMMDD') AS week
      FROM pg_inherits
      JOIN pg_class ON pg_class.oid = inhrelid
     WHERE inhparent = to_regclass(format('public.%%I', %(fact)s)) AND relname ~ '_[0-9]{8}$'
     ORDER BY week
"""
RETIRE_PARTITION = "SELECT maintenance.retire_partition(%(fact)s, %(week)s)"


class Retired(NamedTuple):
    """One week that is no longer stored, and how many facts it held."""

    week: date
    rows: int


def retire_partitions(conn: Connection, table: FactTable, now: datetime, retention_days: int) -> Iterator[Retired]:
    """Retire every week that ended `retention_days` ago or earlier, oldest first; 0 keeps all.

    Each week is retired in its own transaction. Raises psycopg2.errors.LockNotAvailable when a long transaction
    blocked it for about 30 seconds.
    """
    if retention_days == 0:
        return
    with conn:
        weeks: list[date] = fetch_all(conn, WEEKS, {"fact": table.fact}, lambda week: week)
    # Only a week that ends at the bound or earlier is completely older than the bound.
    oldest_kept = week_of(now - timedelta(days=retention_days))
    for week in weeks:
        if week + WEEK <= oldest_kept:
            with conn:
                [rows] = fetch_all(conn, RETIRE_PARTITION, {"fact": table.fact, "week": week}, lambda retired: retired)
            if rows is not None:
                yield Retired(week, rows)
