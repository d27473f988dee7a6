"""Weekly partitions of auth_event: made ahead, and filled from the default partition when that was hit."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

WEEKS_AHEAD = 4
WEEK = timedelta(days=7)

# Not the rows at infinity: no week holds them.
WEEKS_IN_DEFAULT = """
    SELECT DISTINCT date_trunc('week', received_at AT TIME ZONE 'UTC')::date AS week
      FROM auth_event_default
     WHERE isfinite(received_at)
"""
ROWS_IN_DEFAULT = "SELECT count(*) FROM auth_event_default"
MAKE_WEEK = "SELECT maintenance.make_week(%(week)s)"


class Made(NamedTuple):
    """One new partition, and how many rows were waiting for it in the default partition."""

    week: date
    rows_moved: int


def week_of(moment: datetime) -> date:
    """The first day (a Monday, UTC) of the week that a moment belongs to."""
    day = moment.astimezone(UTC).date()
    return day - timedelta(days=day.weekday())


def make_weeks(conn: Connection, now: datetime) -> Iterator[Made]:
    """Make the missing partitions of this week, the next four, and every week with rows in the default partition.

    One transaction for each: the strong lock at its end is held for milliseconds. Raises
    psycopg2.errors.LockNotAvailable when a long transaction was in the way for about 30 seconds.
    """
    ahead = {week_of(now) + number * WEEK for number in range(WEEKS_AHEAD + 1)}
    with conn:
        waiting: list[date] = fetch_all(conn, WEEKS_IN_DEFAULT, {}, lambda week: week)
    for week in sorted(ahead.union(waiting)):
        with conn:
            [rows_moved] = fetch_all(conn, MAKE_WEEK, {"week": week}, lambda moved: moved)
        if rows_moved is not None:
            yield Made(week, rows_moved)


def rows_in_default(conn: Connection) -> int:
    """How many rows the default partition holds; anything but 0 is an alarm."""
    with conn:
        [rows] = fetch_all(conn, ROWS_IN_DEFAULT, {}, int)
    return rows
