"""Creates, changes and deletes projects. A deleted project's rows are removed later, by maintenance/deletion.py."""

import re
import secrets
import unicodedata
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg2 import errors

from contract.projects import DEFAULT_PROJECT_ID, Project, ProjectChange, ProjectDraft, ProjectRole
from device_registration_api.access import members
from device_registration_api.access.authorization import lock_project
from servicekit.database import Connection
from servicekit.database.sql import Statement, execute, fetch_all
from servicekit.errors import Conflict
from servicekit.process import clock

_SLUG_CHARACTERS_MAX = 40
_SUFFIX_DIGITS = 8

INSERT = """
    INSERT INTO project (
           name, project_key, description, timezone, apdex_threshold_ms, retention_days, created_by, created_at,
           updated_at)
    VALUES (%(name)s, %(project_key)s, %(description)s, %(timezone)s, %(apdex_threshold_ms)s, %(retention_days)s,
           %(created_by)s::uuid, %(now)s, %(now)s)
    RETURNING project_id, project_key, name, description, timezone, apdex_threshold_ms, retention_days, is_active,
           created_at, updated_at
"""
READ = """
    SELECT project_id, project_key, name, description, timezone, apdex_threshold_ms, retention_days, is_active,
           created_at, updated_at
      FROM project
     WHERE project_id = %(project_id)s
"""
UPDATE = """
    UPDATE project
       SET name = %(name)s, description = %(description)s, timezone = %(timezone)s,
           apdex_threshold_ms = %(apdex_threshold_ms)s, retention_days = %(retention_days)s,
           is_active = %(is_active)s, updated_at = %(updated_at)s
     WHERE project_id = %(project_id)s
    RETURNING project_id, project_key, name, description, timezone, apdex_threshold_ms, retention_days, is_active,
           created_at, updated_at
"""
DELETE = """
    UPDATE project SET is_active = false, deleted_at = %(now)s, updated_at = %(now)s
     WHERE project_id = %(project_id)s
"""


class _Row(NamedTuple):
    project_id: int
    project_key: str
    name: str
    description: str | None
    timezone: str
    apdex_threshold_ms: int
    retention_days: int | None
    is_active: bool
    created_at: datetime
    updated_at: datetime

    def of_owner(self) -> Project:
        """As an owner sees it: nobody else changes a project."""
        return Project(id=self.project_id, role=ProjectRole.OWNER, **self._asdict())


def create_project(conn: Connection, draft: ProjectDraft, account_id: UUID | None = None) -> Project:
    """Store a project, with the account as its first owner; a project of an operator has none.

    Raises:
        Conflict: the account has created another project with this name, or is a member of too many.
    """
    now = clock.now()
    parameters = draft.model_dump() | {
        "project_key": new_project_key(draft.name),
        "created_by": None if account_id is None else str(account_id),
        "now": now,
    }
    created = _write(conn, INSERT, parameters)
    if account_id is not None:
        members.insert_member(conn, created.project_id, account_id, ProjectRole.OWNER)
    return created.of_owner()


def change_project(conn: Connection, project_key: str, change: ProjectChange, account_id: UUID | None) -> Project:
    """Change the fields that are set, and return the project.

    Raises:
        NotFound, Forbidden: the account may not change this project.
        Conflict: the account that created it has another project with this name.
    """
    project_id = lock_project(conn, project_key, account_id)
    [stored] = fetch_all(conn, READ, {"project_id": project_id}, _Row)
    changed = stored._asdict() | change.model_dump(exclude_unset=True) | {"updated_at": clock.now()}
    return _write(conn, UPDATE, changed).of_owner()


def delete_project(conn: Connection, project_key: str, account_id: UUID | None) -> None:
    """Make a project invisible and its keys invalid; from now on it does not exist for anyone.

    Raises:
        NotFound, Forbidden: the account may not delete this project.
        Conflict: it is the default project, which requests without a key use.
    """
    project_id = lock_project(conn, project_key, account_id)
    if project_id == DEFAULT_PROJECT_ID:
        raise Conflict("the default project cannot be deleted")
    execute(conn, DELETE, {"project_id": project_id, "now": clock.now()})


def new_project_key(name: str) -> str:
    """Return the name in lower-case ASCII letters and digits, with a random suffix: two projects may have one name."""
    return f"{slug_of(name)}-{secrets.token_hex(_SUFFIX_DIGITS // 2)}"


def slug_of(name: str) -> str:
    """Return the name in lower-case ASCII letters and digits."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_CHARACTERS_MAX].strip("-") or "project"


def _write(conn: Connection, statement: Statement, parameters: dict[str, object]) -> _Row:
    try:
        [row] = fetch_all(conn, statement, parameters, _Row)
    except errors.UniqueViolation as error:
        if error.diag.constraint_name != "project_created_by_name":
            raise
        raise Conflict("there is a project with this name already") from error
    return row
