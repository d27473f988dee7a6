"""One round of maintenance: safe at any time and from several places at once, and told in one line a step."""

from collections.abc import Callable
from contextlib import closing
from datetime import datetime

from psycopg2 import errors

from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.partitions import Made, make_weeks, rows_in_default
from device_registration_api.maintenance.retention import retire_weeks
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.maintenance.windows import delete_old_keys, delete_old_minutes
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

STATEMENT_SECONDS_MAX = 600
# Any number will do that no other program locks in this database.
_MAINTENANCE_LOCK = 7_302_002

TRY_LOCK = "SELECT pg_try_advisory_lock(%(lock)s)"
SERVER_TIME = "SELECT now()"

Report = Callable[[str], None]


def maintain(
    settings: DatabaseSettings,
    retention_days: int,
    report: Report,
    *,
    now: datetime | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> bool:
    """Run every step once; False when an operator has to look at what was reported.

    `now` is the server's time unless given; `stopping` is asked between deletions. Raises psycopg2.Error when
    the server cannot be reached or lacks the schema; what was done before stays done.
    """
    with closing(connect(settings, statement_seconds_max=STATEMENT_SECONDS_MAX)) as conn:
        with conn:
            # The session's lock: it ends with the connection, however this process ends.
            [alone] = fetch_all(conn, TRY_LOCK, {"lock": _MAINTENANCE_LOCK}, bool)
            [server_time] = fetch_all(conn, SERVER_TIME, {}, lambda moment: moment)
        if not alone:
            report("another maintain is at work in this database; nothing to do")
            return True
        moment = now or server_time
        weeks_good = _partitions(conn, moment, report)
        retention_good = _retention(conn, moment, retention_days, report)
        report(f"minutes: {delete_old_minutes(conn, moment, stopping)} buckets older than 35 days deleted")
        report(f"idempotency: {delete_old_keys(conn, moment, stopping)} keys older than 48 hours deleted")
        return weeks_good and retention_good


def _partitions(conn: Connection, now: datetime, report: Report) -> bool:
    made: list[Made] = []
    good = True
    try:
        made.extend(make_weeks(conn, now))
    except errors.LockNotAvailable:
        report("partitions: ALARM: a long transaction is in the way, weeks may be missing; the next run tries again")
        good = False
    report(f"partitions: made {', '.join(str(each.week) for each in made) or 'none'}")
    if moved := sum(each.rows_moved for each in made):
        report(
            f"partitions: ALARM: the default partition was hit; its {moved} rows are in their own weeks now. "
            "Run maintain at least once a week."
        )
    if left := rows_in_default(conn):
        report(f"partitions: ALARM: {left} rows are in the default partition and could not be moved")
        good = False
    return good


def _retention(conn: Connection, now: datetime, retention_days: int, report: Report) -> bool:
    if retention_days == 0:
        report("retention: facts are kept for ever")
        return True
    weeks = 0
    try:
        for retired in retire_weeks(conn, now, retention_days):
            weeks += 1
            report(f"retention: week {retired.week} dropped, its {retired.rows} facts stay counted")
    except errors.LockNotAvailable:
        report("retention: ALARM: a long transaction is in the way of a week's end; the next run tries again")
        return False
    if not weeks:
        report(f"retention: no week is wholly older than {retention_days} days")
    return True
