"""Reads of API keys and projects: SELECT from the `stats` schema and nothing else."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from limits import RateLimitItem, parse

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

KEYS = """
    SELECT digest, project_id, scopes, expires_at, is_active AND project_is_active, rate_limit
      FROM stats.api_key
     WHERE key_id = %(key_id)s
"""

PROJECTS = """
    SELECT project_id, project_key, timezone, apdex_threshold_ms
      FROM stats.project
     WHERE project_key = %(project_key)s
"""

PROJECTS_OF_MEMBER = """
    SELECT project_id, project_key, timezone, apdex_threshold_ms
      FROM stats.project
      JOIN stats.project_member USING (project_id)
     WHERE project_key = %(project_key)s
       AND account_id = %(account_id)s
"""


class StoredKey(NamedTuple):
    """A key as it is stored; `expires_at` is None for a key that never expires."""

    digest: bytes
    project_id: int
    scopes: frozenset[str]
    expires_at: datetime | None
    is_active: bool
    rate_limit: RateLimitItem | None = None


class Project(NamedTuple):
    """A project as it is stored; `timezone` is an IANA name."""

    project_id: int
    project_key: str
    timezone: str
    apdex_threshold_ms: int


def keys(lease: Lease, key_id: str) -> tuple[StoredKey, ...]:
    """Return the keys with this id: none, one, or by a rare chance several."""
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, KEYS, {"key_id": key_id}, _stored_key))


def projects(lease: Lease, project_key: str) -> tuple[Project, ...]:
    """Return the project with this key, or none."""
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, PROJECTS, {"project_key": project_key}, Project))


def projects_of_member(lease: Lease, project_key: str, account_id: UUID) -> tuple[Project, ...]:
    """Return the project with this key if the account is a member of it, or none."""
    parameters = {"project_key": project_key, "account_id": str(account_id)}
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, PROJECTS_OF_MEMBER, parameters, Project))


def _stored_key(
    digest: memoryview,
    project_id: int,
    scopes: list[str],
    expires_at: datetime | None,
    is_active: bool,
    rate_limit: str | None,
) -> StoredKey:
    rate = None if rate_limit is None else parse(rate_limit)
    return StoredKey(bytes(digest), project_id, frozenset(scopes), expires_at, is_active, rate)
