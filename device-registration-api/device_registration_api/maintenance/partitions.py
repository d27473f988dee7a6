"""Weekly partitions of a fact table: created ahead, and filled from the default partition when that has rows."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.maintenance.catalogue import FactTable
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

WEEKS_AHEAD = 4
WEEK = timedelta(days=7)

# Rows at infinity are excluded, because they belong to no week.
WEEKS_IN_DEFAULT = sql.SQL("""
    SELECT DISTINCT date_trunc('week', received_at AT TIME ZONE 'UTC')::date AS week
      FROM {default}
     WHERE isfinite(received_at)
""")
ROWS_IN_DEFAULT = sql.SQL("SELECT count(*) FROM {default}")
CREATE_PARTITION = "SELECT maintenance.create_partition(%(fact)s, %(week)s)"


class Created(NamedTuple):
    """One new partition, and how many rows it got from the default partition."""

    week: date
    rows_moved: int


def week_of(moment: datetime) -> date:
    """The first day (a Monday, UTC) of the week that a moment belongs to."""
    day = moment.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def create_partitions(conn: Connection, table: FactTable, now: datetime) -> Iterator[Created]:
    """Create the missing partitions of this week, the next four, and every week with rows in the default partition.

    Each partition is created in its own transaction, which holds a strong lock for milliseconds at its end. Raises
    psycopg2.errors.LockNotAvailable when a long transaction blocked that lock for about 30 seconds.
    """
    ahead = {week_of(now) + number * WEEK for number in range(WEEKS_AHEAD + 1)}
    with conn:
        statement = WEEKS_IN_DEFAULT.format(default=table.table("default"))
        waiting: list[date] = fetch_all(conn, statement, {}, lambda week: week)
    for week in sorted(ahead.union(waiting)):
        with conn:
            [rows_moved] = fetch_all(conn, CREATE_PARTITION, {"fact": table.fact, "week": week}, lambda moved: moved)
        if rows_moved is not None:
            yield Created(week, rows_moved)


def rows_in_default(conn: Connection, table: FactTable) -> int:
    """Return the number of rows in the default partition; any number but 0 is an alarm."""
    with conn:
        [rows] = fetch_all(conn, ROWS_IN_DEFAULT.format(default=table.table("default")), {}, int)
    return rows
