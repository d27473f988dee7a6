"""Deletes the old facts of projects that have a retention of their own, and notes for their owners what is left.

A week's partition has facts of all projects, so these leave row by row; `<fact>_retired` gets their sums in the same
transaction.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from psycopg2 import sql

from device_registration_api.maintenance.catalogue import FactTable
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# The rows that one transaction deletes: it takes some tens of milliseconds.
BATCH_ROWS = 5_000
# A repeat within 48 hours gets the stored row of its first request, so no row leaves before.
DAYS_MIN = 3

PROJECTS = "SELECT project_id, retention_days FROM project WHERE deleted_at IS NULL ORDER BY project_id"
RETIRE_ROWS = "SELECT coalesce(maintenance.retire_rows(%(fact)s, %(project_id)s, %(rows)s), 0)"
# What is stored is what was counted and did not leave. Counting the facts would read them all.
KEPT = sql.SQL("""
    SELECT (SELECT coalesce(sum(event_count), 0) FROM {rollup} WHERE project_id = %(project_id)s)
           - (SELECT coalesce(sum(event_count), 0) FROM {retired} WHERE project_id = %(project_id)s),
           (SELECT min(received_at) FROM {facts} WHERE project_id = %(project_id)s)
""")
NOTE = """
    INSERT INTO project_retention AS r
           (project_id, fact, retention_days, ran_at, deleted_rows, kept_rows, oldest_received_at)
    VALUES (%(project_id)s, %(fact)s, %(retention_days)s, %(ran_at)s, %(deleted)s, %(kept)s, %(oldest)s)
        ON CONFLICT (project_id, fact)
        DO UPDATE SET retention_days = excluded.retention_days,
                      ran_at = excluded.ran_at,
                      deleted_rows = r.deleted_rows + excluded.deleted_rows,
                      kept_rows = excluded.kept_rows,
                      oldest_received_at = excluded.oldest_received_at
"""


class ProjectRetained(NamedTuple):
    """What one run did for one project, and the days that its facts are kept; None is for ever."""

    project_id: int
    days: int | None
    deleted: int


class _Project(NamedTuple):
    project_id: int
    retention_days: int | None


class _Kept(NamedTuple):
    rows: int
    oldest: datetime | None


def retain_projects(
    conn: Connection, table: FactTable, now: datetime, retention_days: int, stopping: Callable[[], bool]
) -> Iterator[ProjectRetained]:
    """Apply the retention of each project, and note the run for each that has or had facts of this table.

    `retention_days` is that of all projects, which `retire_partitions` applies; 0 is for ever. Each batch of rows is a
    transaction. Raises psycopg2.Error when a table is busy; completed batches stay committed.
    """
    with conn:
        projects = fetch_all(conn, PROJECTS, {}, _Project)
    for project in projects:
        if stopping():
            return
        deleted = 0 if project.retention_days is None else _retire(conn, table, project.project_id, stopping)
        own = None if project.retention_days is None else max(project.retention_days, DAYS_MIN)
        days = min((each for each in (own, retention_days) if each), default=None)
        _note(conn, table, project.project_id, days, now, deleted)
        yield ProjectRetained(project.project_id, days, deleted)


def _retire(conn: Connection, table: FactTable, project_id: int, stopping: Callable[[], bool]) -> int:
    deleted = 0
    batch = {"fact": table.fact, "project_id": project_id, "rows": BATCH_ROWS}
    while not stopping():
        with conn:
            [rows] = fetch_all(conn, RETIRE_ROWS, batch, int)
        deleted += rows
        if rows < BATCH_ROWS:
            break
    return deleted


def _note(conn: Connection, table: FactTable, project_id: int, days: int | None, now: datetime, deleted: int) -> None:
    statement = KEPT.format(rollup=table.table(table.shortest), retired=table.table("retired"), facts=table.table())
    with conn:
        [kept] = fetch_all(conn, statement, {"project_id": project_id}, _Kept)
        if kept.rows or deleted:
            noted = {
                "project_id": project_id,
                "fact": table.fact,
                "retention_days": days,
                "ran_at": now,
                "deleted": deleted,
                "kept": kept.rows,
                "oldest": kept.oldest,
            }
            execute(conn, NOTE, noted)
