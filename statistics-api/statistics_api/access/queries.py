"""Reads of API keys: SELECT from the `stats` schema and nothing else."""

from datetime import datetime
from typing import NamedTuple

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

KEYS = """
    SELECT digest, project_id, scopes, expires_at, is_active AND project_is_active
      FROM stats.api_key
     WHERE key_id = %(key_id)s
"""


class StoredKey(NamedTuple):
    """A key as it is stored; `expires_at` is None for a key that never expires."""

    digest: bytes
    project_id: int
    scopes: frozenset[str]
    expires_at: datetime | None
    is_active: bool


def keys(lease: Lease, key_id: str) -> tuple[StoredKey, ...]:
    """Return the keys with this id: none, one, or by a rare chance several."""
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, KEYS, {"key_id": key_id}, _stored_key))


def _stored_key(
    digest: memoryview, project_id: int, scopes: list[str], expires_at: datetime | None, is_active: bool
) -> StoredKey:
    return StoredKey(bytes(digest), project_id, frozenset(scopes), expires_at, is_active)
