"""One round of maintenance: safe at any time and from several places at once; each step reports in one line or more."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import NamedTuple

import psycopg2
from psycopg2 import errors

from contract.time_series import MINUTES_KEPT
from device_registration_api.followers import FOLLOWERS
from device_registration_api.maintenance.catalogue import FactTable, read_fact_tables
from device_registration_api.maintenance.command_runs import MAINTAIN, record_run
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.deletion import delete_projects
from device_registration_api.maintenance.device_deletion import delete_devices
from device_registration_api.maintenance.expiry import (
    DELIVERIES_KEPT,
    IDEMPOTENCY_KEPT,
    delete_old_deliveries,
    delete_old_keys,
    delete_old_minutes,
)
from device_registration_api.maintenance.partitions import Created, create_partitions, rows_in_default
from device_registration_api.maintenance.project_retention import retain_projects
from device_registration_api.maintenance.retention import retire_partitions
from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.process.progress import NOT_SHOWN, Progress

STATEMENT_SECONDS_MAX = 600
# An arbitrary number that no other program uses for an advisory lock in this database.
_MAINTENANCE_LOCK = 7_302_002
# Another transaction holds a lock on a table. On a cluster, a lock time-out of a node is reported as QueryCanceled.
_BUSY = (errors.LockNotAvailable, errors.DeadlockDetected, errors.QueryCanceled)
_IN_THE_WAY = "ALARM: a long transaction is in the way; the next run tries again"

TRY_LOCK = "SELECT pg_try_advisory_lock(%(lock)s)"
SERVER_TIME = "SELECT now()"

Report = Callable[[str], None]
Step = Callable[[Report], bool]


class Elsewhere(NamedTuple):
    """What other databases have to do with it.

    `erase_people` is called for each deleted project that has people. `keys_needed_since` returns when the oldest event
    was received that waits in the inbox.
    """

    erase_people: Callable[[int], bool] = lambda _project_id: False
    keys_needed_since: Callable[[], datetime | None] = lambda: None


NOTHING_ELSEWHERE = Elsewhere()


def maintain(
    settings: DatabaseSettings,
    retention_days: int,
    report: Report,
    *,
    now: datetime | None = None,
    stopping: Callable[[], bool] = lambda: False,
    elsewhere: Elsewhere = NOTHING_ELSEWHERE,
    progress: Progress = NOT_SHOWN,
) -> bool:
    """Run every step once for every fact table. False means that an operator has to read the reports.

    A busy table is reported as a failure and does not stop the steps of other tables. `now` is by default the server's
    time; `stopping` is called between deletions. Raises psycopg2.Error when the server cannot be reached or lacks the
    schema; completed steps stay committed.
    """
    with closing(connect(settings, statement_seconds_max=STATEMENT_SECONDS_MAX)) as conn:
        with conn:
            # A session lock: it ends with the connection, however this process ends.
            [acquired] = fetch_all(conn, TRY_LOCK, {"lock": _MAINTENANCE_LOCK}, bool)
            [server_time] = fetch_all(conn, SERVER_TIME, {}, lambda moment: moment)
        if not acquired:
            report("another maintain is at work in this database; nothing to do")
            return True
        moment = now or server_time
        tables = read_fact_tables(conn)
        steps = list(_steps(conn, tables, moment, retention_days, stopping, elsewhere))
        progress.expect(len(steps))
        outcomes = []
        for name, work in steps:
            progress.doing(name)
            outcomes.append(_run_step(name, report, work))
            progress.advance()
        if all(outcomes):
            record_run(conn, MAINTAIN)
        return all(outcomes)


def _steps(
    conn: Connection,
    tables: Sequence[FactTable],
    now: datetime,
    retention_days: int,
    stopping: Callable[[], bool],
    elsewhere: Elsewhere,
) -> Iterator[tuple[str, Step]]:
    # The partitions of every table first: a missing one is the most urgent.
    for table in tables:
        yield f"partitions of {table.fact}", partial(_partitions, conn, table, now)
    # Before the retention: no week leaves before its users are counted.
    for table in tables:
        if table.presence_follows:
            yield f"presences of {table.fact}", partial(_presences, conn, table, stopping)
    for table in tables:
        yield f"retention of {table.fact}", partial(_retention, conn, table, now, retention_days, stopping)
    for table in tables:
        if "minute" in table.rollups:
            yield f"minutes of {table.fact}", partial(_minutes, conn, table, now, stopping)
    yield "idempotency", partial(_keys, conn, now, stopping, elsewhere.keys_needed_since)
    yield "webhooks", partial(_deliveries, conn, now, stopping)
    # The last, because they may take long.
    yield "deleted devices", partial(_devices, conn, stopping)
    yield "deleted projects", partial(_projects, conn, stopping, elsewhere.erase_people)


def _run_step(name: str, report: Report, work: Step) -> bool:
    def say(line: str) -> None:
        report(f"{name}: {line}")

    try:
        return work(say)
    except _BUSY:
        say(_IN_THE_WAY)
        return False


def _partitions(conn: Connection, table: FactTable, now: datetime, report: Report) -> bool:
    created: list[Created] = []
    ok = True
    try:
        created.extend(create_partitions(conn, table, now))
    except _BUSY:
        report(f"{_IN_THE_WAY}; weeks may be missing until then")
        ok = False
    report(f"created {', '.join(str(each.week) for each in created) or 'none'}")
    if moved := sum(each.rows_moved for each in created):
        report(
            f"ALARM: the default partition was hit; its {moved} rows are in their own weeks now. "
            "Run maintain at least once a week."
        )
    if left := rows_in_default(conn, table):
        report(f"ALARM: {left} rows are in the default partition and could not be moved")
        ok = False
    return ok


def _presences(conn: Connection, table: FactTable, stopping: Callable[[], bool], report: Report) -> bool:
    before = FOLLOWERS[table.fact].catch_up(conn, stopping)
    report(f"followed, and {before} facts of before a restore or an upgrade" if before else "followed")
    return True


def _retention(
    conn: Connection,
    table: FactTable,
    now: datetime,
    retention_days: int,
    stopping: Callable[[], bool],
    report: Report,
) -> bool:
    weeks = 0
    for retired in retire_partitions(conn, table, now, retention_days):
        weeks += 1
        report(f"week {retired.week} dropped, its {retired.rows} facts stay counted")
    if retention_days == 0:
        report("facts are kept for ever")
    elif not weeks:
        report(f"no week is wholly older than {retention_days} days")
    for project in retain_projects(conn, table, now, retention_days, stopping):
        if project.deleted:
            report(
                f"project {project.project_id}: {project.deleted} facts older than {project.days} days deleted, "
                "they stay counted"
            )
    return True


def _minutes(conn: Connection, table: FactTable, now: datetime, stopping: Callable[[], bool], report: Report) -> bool:
    deleted = delete_old_minutes(conn, table, now, stopping)
    report(f"{deleted} buckets older than {MINUTES_KEPT.days} days deleted")
    return True


def _keys(
    conn: Connection,
    now: datetime,
    stopping: Callable[[], bool],
    needed_since: Callable[[], datetime | None],
    report: Report,
) -> bool:
    try:
        # An event that waits since then may repeat one that was recorded 48 hours before it.
        oldest_waiting = needed_since()
    except psycopg2.Error as error:
        report(f"ALARM: no key is deleted, because the inbox cannot be asked: {str(error).strip()}")
        return False
    deleted = delete_old_keys(conn, min(now, oldest_waiting or now), stopping)
    hours = f"{IDEMPOTENCY_KEPT.total_seconds() / 3600:g} hours"
    if oldest_waiting is not None:
        report(f"the inbox has events since {oldest_waiting}: the keys of the {hours} before are kept")
    report(f"{deleted} keys older than {hours} deleted")
    return True


def _deliveries(conn: Connection, now: datetime, stopping: Callable[[], bool], report: Report) -> bool:
    deleted = delete_old_deliveries(conn, now, stopping)
    report(f"{deleted} deliveries that ended more than {DELIVERIES_KEPT.days} days ago deleted")
    return True


def _devices(conn: Connection, stopping: Callable[[], bool], report: Report) -> bool:
    found = list(delete_devices(conn, stopping))
    if not found:
        report("none")
        return True
    complete = sum(each.is_complete for each in found)
    rows = sum(each.rows for each in found)
    report(
        f"{rows} measurements of {len(found)} devices removed, they stay counted; {len(found) - complete} go on later"
    )
    return True


def _projects(
    conn: Connection, stopping: Callable[[], bool], erase_people: Callable[[int], bool], report: Report
) -> bool:
    found = False
    ok = True
    for deletion in delete_projects(conn, stopping, erase_people):
        found = True
        if deletion.has_people:
            report(
                f"project {deletion.project_id}: ALARM: its people cannot be erased without the databases of personal "
                "data; the next run tries again"
            )
            ok = False
            continue
        state = "nothing is left of it" if deletion.is_complete else "the next run goes on"
        report(f"project {deletion.project_id}, deleted {deletion.deleted_at}: {deletion.rows} rows removed, {state}")
    if not found:
        report("none")
    return ok
