"""Weekly partitions of auth_event: made ahead, and emptied out of the default partition when it was hit."""

from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from psycopg2.extensions import connection as Connection  # noqa: N812

WEEKS_AHEAD = 4
WEEK = timedelta(days=7)

# Not the rows at infinity: no week holds them.
WEEKS_IN_DEFAULT = """
    SELECT DISTINCT date_trunc('week', received_at AT TIME ZONE 'UTC')::date
      FROM auth_event_default
     WHERE isfinite(received_at)
     ORDER BY 1
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


def make_weeks(conn: Connection, now: datetime) -> list[Made]:
    """Make the missing partitions of this week, the next four, and every week with rows in the default partition.

    One transaction for each: the strong lock at its end is held for milliseconds. Raises
    psycopg2.errors.LockNotAvailable when a long transaction was in the way for about 30 seconds.
    """
    ahead = [week_of(now) + n * WEEK for n in range(WEEKS_AHEAD + 1)]
    made: list[Made] = []
    with conn, conn.cursor() as cur:
        cur.execute(WEEKS_IN_DEFAULT)
        waiting = [week for (week,) in cur.fetchall()]
    for week in sorted({*ahead, *waiting}):
        with conn, conn.cursor() as cur:
            cur.execute(MAKE_WEEK, {"week": week})
            (rows_moved,) = cur.fetchone() or (None,)
        if rows_moved is not None:
            made.append(Made(week, rows_moved))
    return made


def rows_in_default(conn: Connection) -> int:
    """How many rows the default partition holds; anything but 0 is an alarm."""
    with conn, conn.cursor() as cur:
        cur.execute(ROWS_IN_DEFAULT)
        (rows,) = cur.fetchone() or (0,)
        return int(rows)
