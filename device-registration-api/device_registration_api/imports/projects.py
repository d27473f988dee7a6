"""Makes the projects of another system, with keys that their clients go on using."""

import re
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from psycopg2 import errors

from contract.access import imported_key_id
from contract.projects import NAME_CHARACTERS_MAX, ProjectRole
from device_registration_api.access.projects import slug_of
from device_registration_api.events.json_parameter import as_json
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.target import Target
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

_PROJECT_KEY = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_SUFFIX_DIGITS = 8

FIND = """
    SELECT project_id, created_by::text, deleted_at IS NOT NULL
      FROM project
     WHERE project_key = %(project_key)s
"""
INSERT = """
    INSERT INTO project (name, project_key, description, is_active, created_by, created_at, updated_at)
    VALUES (%(name)s, %(project_key)s, %(description)s, %(is_active)s, %(created_by)s::uuid, %(created_at)s,
           %(created_at)s)
    RETURNING project_id
"""
INSERT_OWNER = """
    INSERT INTO project_member (project_id, account_id, role, added_at)
    VALUES (%(project_id)s, %(account_id)s::uuid, %(role)s, %(added_at)s)
"""
# The same key is found again by its digest, whatever was changed of it since.
INSERT_KEYS = """
    INSERT INTO api_key
           (project_id, key_id, name, scopes, digest, created_at, expires_at, revoked_at, last_used_at, total_requests)
    SELECT project_id, key_id, name, %(scopes)s, decode(digest, 'hex'), created_at, expires_at, revoked_at,
           last_used_at, total_requests
      FROM json_to_recordset(%(keys)s::json)
        AS sent(project_id int, key_id text, name text, digest text, created_at timestamptz, expires_at timestamptz,
                revoked_at timestamptz, last_used_at timestamptz, total_requests bigint)
        ON CONFLICT (project_id, key_id) DO NOTHING
    RETURNING project_id, key_id
"""
FIND_KEYS = """
    SELECT project_id, key_id
      FROM api_key
      JOIN json_to_recordset(%(keys)s::json) AS sent(project_id int, key_id text) USING (project_id, key_id)
"""


class ProjectOfSource(NamedTuple):
    """A project as it will be stored; `created_by` also says whose import it is."""

    name: str
    project_key: str | None
    description: str | None
    is_active: bool
    created_by: UUID
    created_at: datetime
    source_id: UUID

    @property
    def own_key(self) -> str:
        """The key that it gets where the one of the source is none of ours, or is another project's."""
        return f"{slug_of(self.name)}-{self.source_id.hex[:_SUFFIX_DIGITS]}"


class Found(NamedTuple):
    """A project that is stored already."""

    project_id: int
    is_deleted: bool


class KeyOfSource(NamedTuple):
    """An API key as it will be stored: its digest is the SHA-256 of its text, or what the source stored."""

    project_id: int
    name: str
    digest: bytes
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    total_requests: int = 0

    @property
    def key_id(self) -> str:
        """The id that a request with this key names."""
        return imported_key_id(self.digest)


def import_project(
    target: Target, project: ProjectOfSource, owner: UUID | None, report: TableReport, row_id: int
) -> int | None:
    """Store a project unless it is stored, account for it, and return its number; None: it is refused.

    A dry run returns a number that no project has.
    """
    with target.conn:
        found = _find_project(target.conn, project)
    if found is not None and found.is_deleted:
        report.refuse(row_id, "the project was deleted here")
        return None
    if found is not None:
        report.duplicate += 1
        return found.project_id
    project_id = -row_id
    if not target.is_dry_run:
        try:
            with target.conn:
                project_id = _insert_project(target.conn, project, owner)
        except errors.UniqueViolation:
            report.refuse(row_id, "the user has another project with this name")
            return None
    report.registered += 1
    return project_id


def import_keys(target: Target, keys: Collection[KeyOfSource], scopes: list[str], report: TableReport) -> None:
    """Store the keys that are not stored, and account for all."""
    sent = {"keys": as_json([each._asdict() | {"key_id": each.key_id, "digest": each.digest.hex()} for each in keys])}
    with target.conn:
        stored = len(fetch_all(target.conn, FIND_KEYS, sent, _any))
        new = len(keys) - stored
        if not target.is_dry_run:
            new = len(fetch_all(target.conn, INSERT_KEYS, sent | {"scopes": scopes}, _any))
    report.registered += new
    report.duplicate += stored


def _find_project(conn: Connection, project: ProjectOfSource) -> Found | None:
    """Return the project that an earlier import has made of this one."""
    for key in filter(None, (project.project_key, project.own_key)):
        for project_id, created_by, is_deleted in fetch_all(conn, FIND, {"project_key": key}, lambda *row: row):
            if created_by == str(project.created_by):
                return Found(project_id, is_deleted)
    return None


def _insert_project(conn: Connection, project: ProjectOfSource, owner: UUID | None) -> int:
    """Store a project, with its key of the source if no other project has it, and return its number."""
    key = project.project_key
    if key is None or _PROJECT_KEY.fullmatch(key) is None or fetch_all(conn, FIND, {"project_key": key}, _any):
        key = project.own_key
    named = project._asdict() | {"project_key": key, "created_by": str(project.created_by)}
    named.pop("source_id")
    [project_id] = fetch_all(conn, INSERT, named, int)
    if owner is not None:
        member = {"account_id": str(owner), "role": ProjectRole.OWNER, "added_at": project.created_at}
        execute(conn, INSERT_OWNER, member | {"project_id": project_id})
    return project_id


def cut_name(name: str) -> str:
    """Return a name that is not longer than ours may be."""
    return name if len(name) <= NAME_CHARACTERS_MAX else name[: NAME_CHARACTERS_MAX - 1] + "…"


def _any(*row: object) -> object:
    return row
