"""Removes the rows of deleted projects, in small transactions of maintenance.delete_project_rows.

What must be remembered is in the rows: the project has `deleted_at` until its last row is gone, and then goes itself.
So the work goes on after any interruption, and is complete when no such project is left.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# The rows that one transaction deletes: it takes milliseconds, so no writer waits long for it.
BATCH_ROWS = 5_000

# By then, no process remembers a key of the project, and nothing is recorded any more: see the function.
DELETED_PROJECTS = """
    SELECT project_id, deleted_at
      FROM project
     WHERE deleted_at < now() - interval '1 minute'
     ORDER BY deleted_at, project_id
"""
DELETE_ROWS = "SELECT table_name, row_count FROM maintenance.delete_project_rows(%(project_id)s, %(rows)s)"


class Deletion(NamedTuple):
    """What one round did for a deleted project; it is complete when no row is left."""

    project_id: int
    deleted_at: datetime
    rows: int
    is_complete: bool


class _Project(NamedTuple):
    project_id: int
    deleted_at: datetime


class _Deleted(NamedTuple):
    table: str | None
    rows: int


def delete_projects(conn: Connection, stopping: Callable[[], bool]) -> Iterator[Deletion]:
    """Delete the rows of each deleted project, the earliest first; `stopping` is called between transactions."""
    with conn:
        projects = fetch_all(conn, DELETED_PROJECTS, {}, _Project)
    for project in projects:
        rows = 0
        is_complete = False
        while not is_complete and not stopping():
            with conn:
                [deleted] = fetch_all(
                    conn, DELETE_ROWS, {"project_id": project.project_id, "rows": BATCH_ROWS}, _Deleted
                )
            rows += deleted.rows
            is_complete = deleted.table is None
        yield Deletion(*project, rows, is_complete)
