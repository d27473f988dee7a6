"""Reads of projects, members and API keys: SELECT from the `stats` schema and nothing else."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from contract.access import ApiKey, Scope, key_prefix
from contract.projects import Member, Project, ProjectRole, Retention
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

PROJECTS = """
    SELECT p.project_id, p.project_key, p.name, p.description, p.timezone, p.apdex_threshold_ms, p.retention_days,
           p.is_active, p.created_at, p.updated_at, m.role
      FROM stats.project_member AS m
      JOIN stats.project AS p USING (project_id)
     WHERE m.account_id = %(account_id)s::uuid
       AND (%(project_key)s::text IS NULL OR p.project_key = %(project_key)s)
     ORDER BY p.created_at, p.project_id
"""
LABEL = "SELECT project_key, name, timezone FROM stats.project WHERE project_id = %(project_id)s"
MEMBERS = """
    SELECT account_id::text, role, added_at
      FROM stats.project_member
     WHERE project_id = %(project_id)s
     ORDER BY added_at, account_id
"""
KEYS = """
    SELECT key_id, name, scopes, is_active AND (expires_at IS NULL OR expires_at > %(now)s), created_at, expires_at,
           last_used_at, total_requests, rate_limit, replaced_by
      FROM stats.api_key
     WHERE project_id = %(project_id)s
       AND (%(key_id)s::text IS NULL OR key_id = %(key_id)s)
       AND (NOT %(active_only)s OR (is_active AND (expires_at IS NULL OR expires_at > %(now)s)))
     ORDER BY created_at, key_id
"""
RETENTION = """
    SELECT fact, retention_days, ran_at, deleted_rows, kept_rows, oldest_received_at
      FROM stats.project_retention
     WHERE project_id = %(project_id)s
     ORDER BY fact
"""


class KeyFilter(NamedTuple):
    """Which keys of a project are read: all, one of them, or the active ones."""

    key_id: str | None = None
    active_only: bool = False


class Label(NamedTuple):
    """What a page calls a project; `timezone` is an IANA name."""

    project_key: str
    name: str
    timezone: str


def labels(lease: Lease, project_id: int) -> list[Label]:
    """Return the label of a project, or nothing if there is no such project any more."""
    with lease.transaction() as conn:
        return fetch_all(conn, LABEL, {"project_id": project_id}, Label)


def projects(lease: Lease, account_id: UUID, project_key: str | None = None) -> list[Project]:
    """Return the projects of which an account is a member, or the one with this key; the oldest first."""
    parameters = {"account_id": str(account_id), "project_key": project_key}
    with lease.transaction() as conn:
        return fetch_all(conn, PROJECTS, parameters, _project)


def members(lease: Lease, project_id: int) -> list[Member]:
    """Return the members of a project, the earliest first."""
    with lease.transaction() as conn:
        return fetch_all(conn, MEMBERS, {"project_id": project_id}, _member)


def keys(lease: Lease, project_id: int, which: KeyFilter, now: datetime) -> list[ApiKey]:
    """Return keys of a project without their secrets, the oldest first."""
    with lease.transaction() as conn:
        return fetch_all(conn, KEYS, {"project_id": project_id, "now": now, **which._asdict()}, _key)


def retention(lease: Lease, project_id: int) -> list[Retention]:
    """Return what the last run of the retention noted for a project, one for each kind of event."""
    with lease.transaction() as conn:
        return fetch_all(conn, RETENTION, {"project_id": project_id}, _retention)


def _project(project_id: int, *values: object) -> Project:
    return Project.model_validate({"id": project_id, **dict(zip(_PROJECT_FIELDS, values, strict=True))})


def _member(account_id: str, role: str, added_at: datetime) -> Member:
    return Member(account_id=UUID(account_id), role=ProjectRole(role), added_at=added_at)


def _retention(*values: object) -> Retention:
    return Retention.model_validate(dict(zip(Retention.model_fields, values, strict=True)))


def _key(key_id: str, name: str, scopes: list[str], is_active: bool, *values: object) -> ApiKey:
    return ApiKey.model_validate(
        {
            "id": key_id,
            "prefix": key_prefix(key_id),
            "name": name,
            "scopes": [Scope(each) for each in scopes],
            "is_active": is_active,
            **dict(zip(_KEY_FIELDS, values, strict=True)),
        }
    )


_PROJECT_FIELDS = (
    "project_key",
    "name",
    "description",
    "timezone",
    "apdex_threshold_ms",
    "retention_days",
    "is_active",
    "created_at",
    "updated_at",
    "role",
)
_KEY_FIELDS = ("created_at", "expires_at", "last_used_at", "total_requests", "rate_limit", "replaced_by")
