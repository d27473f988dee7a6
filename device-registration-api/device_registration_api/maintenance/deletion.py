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
HAS_PEOPLE = "SELECT EXISTS (SELECT FROM project_person WHERE project_id = %(project_id)s)"
DELETE_ROWS = "SELECT table_name, row_count FROM maintenance.delete_project_rows(%(project_id)s, %(rows)s)"


class Deletion(NamedTuple):
    """What one round did for a deleted project; it is complete when no row is left."""

    project_id: int
    deleted_at: datetime
    rows: int
    is_complete: bool
    has_people: bool = False


class _Project(NamedTuple):
    project_id: int
    deleted_at: datetime


class _Deleted(NamedTuple):
    table: str | None
    rows: int


def delete_projects(
    conn: Connection, stopping: Callable[[], bool], erase_people: Callable[[int], bool]
) -> Iterator[Deletion]:
    """Delete the rows of each deleted project, the earliest first; `stopping` is called between transactions.

    `erase_people` erases the people of a project that has any from the other databases, before anything else: this one
    must not forget the project earlier. False: they are not all gone yet, and the project waits with its people.
    """
    with conn:
        projects = fetch_all(conn, DELETED_PROJECTS, {}, _Project)
    for project in projects:
        with conn:
            [has_people] = fetch_all(conn, HAS_PEOPLE, {"project_id": project.project_id}, bool)
        if has_people and not erase_people(project.project_id):
            yield Deletion(*project, 0, is_complete=False, has_people=True)
            continue
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
