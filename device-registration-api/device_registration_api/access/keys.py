"""Creates, changes, rotates and deletes the API keys of projects.

Each change locks the project's row first, so that two at once cannot exceed the limit of active keys. A key is shown
once, when it is made; the database has its SHA-256.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from contract.access import (
    LIFE_DEFAULT,
    ApiKey,
    ApiKeyChange,
    ApiKeyDraft,
    ApiKeyWithSecret,
    Scope,
    key_prefix,
    new_key,
)
from device_registration_api.access.authorization import lock_project
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, Invalid, NotFound
from servicekit.process import clock

SHOWN_ONCE = "Keep this key now: it is not stored, and cannot be shown again."

INSERT = """
    INSERT INTO api_key (project_id, key_id, name, scopes, digest, created_at, expires_at, rate_limit)
    VALUES (%(project_id)s, %(key_id)s, %(name)s, %(scopes)s, %(digest)s, %(created_at)s, %(expires_at)s,
           %(rate_limit)s)
"""
LIST = """
    SELECT key_id, name, scopes, created_at, expires_at, revoked_at, replaced_by, rate_limit, last_used_at,
           total_requests
      FROM api_key
     WHERE project_id = %(project_id)s
     ORDER BY created_at, key_id
"""
UPDATE = """
    UPDATE api_key
       SET name = %(name)s, rate_limit = %(rate_limit)s, expires_at = %(expires_at)s, revoked_at = %(revoked_at)s,
           replaced_by = %(replaced_by)s
     WHERE project_id = %(project_id)s AND key_id = %(key_id)s
"""
DELETE = "DELETE FROM api_key WHERE project_id = %(project_id)s AND key_id = %(key_id)s"


class StoredKey(NamedTuple):
    """What is stored about a key, without its digest; `expires_at` is None for a key that never expires."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None
    rate_limit: str | None
    last_used_at: datetime | None = None
    total_requests: int = 0

    def state(self, now: datetime) -> str:
        """Return active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"

    def shown(self, now: datetime) -> ApiKey:
        """As its owner sees it."""
        return ApiKey(
            id=self.key_id,
            prefix=key_prefix(self.key_id),
            name=self.name,
            scopes=[Scope(each) for each in self.scopes],
            is_active=self.state(now) == "active",
            created_at=self.created_at,
            expires_at=self.expires_at,
            last_used_at=self.last_used_at,
            total_requests=self.total_requests,
            rate_limit=self.rate_limit,
            replaced_by=self.replaced_by,
        )


def create_key(
    conn: Connection, project_key: str, draft: ApiKeyDraft, account_id: UUID | None = None, *, active_max: int
) -> ApiKeyWithSecret:
    """Store a new key and return it with its text, which is nowhere else.

    Raises:
        NotFound, Forbidden: the account may not change this project.
        Conflict: the project has `active_max` active keys.
        Invalid: the key would have expired already.
    """
    return insert_key(conn, lock_project(conn, project_key, account_id), draft, active_max=active_max)


def insert_key(conn: Connection, project_id: int, draft: ApiKeyDraft, *, active_max: int) -> ApiKeyWithSecret:
    """Store a key of a project that the caller has locked and may change. Raises Conflict and Invalid."""
    now = clock.now()
    expires_at = draft.expires_at if "expires_at" in draft.model_fields_set else now + LIFE_DEFAULT
    if expires_at is not None and expires_at <= now:
        raise Invalid.single("must be in the future: the key would have expired already", "body", "expires_at")
    _check_limit(_stored(conn, project_id), now, active_max)
    return _insert(conn, project_id, draft.name, draft.scopes, now, expires_at, draft.rate_limit)


def list_keys(conn: Connection, project_key: str) -> list[StoredKey]:
    """Return all keys of a project, the oldest first. Raises NotFound for an unknown project."""
    return _stored(conn, lock_project(conn, project_key, None))


def change_key(
    conn: Connection,
    project_key: str,
    key_id: str,
    change: ApiKeyChange,
    account_id: UUID | None = None,
    *,
    active_max: int,
) -> ApiKey:
    """Change the fields that are set, and return the key; `is_active` revokes it, or makes a revoked key valid again.

    Raises:
        NotFound, Forbidden: the account may not change this project, or the project has no such key.
        Conflict: the key has expired or was rotated, or the project has `active_max` active keys.
    """
    now = clock.now()
    project_id = lock_project(conn, project_key, account_id)
    stored = _stored(conn, project_id)
    key = _find(stored, key_id)
    fields = change.model_dump(exclude_unset=True)
    is_active = fields.pop("is_active", None)
    changed = key._replace(**fields)
    if is_active is False and key.revoked_at is None:
        changed = changed._replace(revoked_at=now)
    if is_active is True and key.state(now) != "active":
        changed = changed._replace(revoked_at=None)
        if changed.state(now) != "active" or key.replaced_by is not None:
            raise Conflict(f"key {key_id} has expired or was rotated: create another one")
        _check_limit(stored, now, active_max)
    _update(conn, project_id, changed)
    return changed.shown(now)


def revoke_key(conn: Connection, project_key: str, key_id: str) -> None:
    """Revoke a key; a repeat changes nothing. Raises NotFound for an unknown project or key."""
    change_key(conn, project_key, key_id, ApiKeyChange(is_active=False), active_max=0)


def delete_key(conn: Connection, project_key: str, key_id: str, account_id: UUID | None = None) -> None:
    """Remove a key, with what is known of its use. Raises NotFound and Forbidden as `change_key`."""
    project_id = lock_project(conn, project_key, account_id)
    _find(_stored(conn, project_id), key_id)
    execute(conn, DELETE, {"project_id": project_id, "key_id": key_id})


def rotate_key(
    conn: Connection,
    project_key: str,
    key_id: str,
    account_id: UUID | None = None,
    *,
    overlap: timedelta,
    active_max: int,
) -> ApiKeyWithSecret:
    """Store a key with the same name, scopes, rate limit and length of life, and return it with its text.

    The old key stays valid for the overlap, or until its own end if that is earlier.

    Raises:
        NotFound, Forbidden: the account may not change this project, or the project has no such key.
        Conflict: the key is revoked, expired or rotated already; or the project would have more than `active_max`
            active keys.
    """
    project_id = lock_project(conn, project_key, account_id)
    return replace_key(conn, project_id, key_id, overlap=overlap, active_max=active_max)


def replace_key(
    conn: Connection, project_id: int, key_id: str, *, overlap: timedelta, active_max: int
) -> ApiKeyWithSecret:
    """Rotate a key of a project that the caller has locked and may change. Raises NotFound and Conflict."""
    now = clock.now()
    stored = _stored(conn, project_id)
    old = _find(stored, key_id)
    if old.state(now) != "active":
        raise Conflict(f"key {key_id} is {old.state(now)}: create another one")
    if old.replaced_by is not None:
        raise Conflict(f"key {key_id} was rotated already: rotate its successor {old.replaced_by}")
    _check_limit([each for each in stored if overlap or each is not old], now, active_max)
    expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
    successor = _insert(conn, project_id, old.name, old.scopes, now, expires_at, old.rate_limit)
    end = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
    ended = old._replace(replaced_by=successor.id, expires_at=end, revoked_at=None if overlap else now)
    _update(conn, project_id, ended)
    return successor


def _insert(
    conn: Connection,
    project_id: int,
    name: str,
    scopes: Sequence[str],
    created_at: datetime,
    expires_at: datetime | None,
    rate_limit: str | None,
) -> ApiKeyWithSecret:
    key = new_key()
    names = [str(each) for each in scopes]
    stored = StoredKey(key.key_id, name, names, created_at, expires_at, None, None, rate_limit)
    execute(conn, INSERT, stored._asdict() | {"project_id": project_id, "digest": key.digest})
    return ApiKeyWithSecret(**stored.shown(created_at).model_dump(), key=key.text, warning=SHOWN_ONCE)


def _update(conn: Connection, project_id: int, key: StoredKey) -> None:
    execute(conn, UPDATE, key._asdict() | {"project_id": project_id})


def _stored(conn: Connection, project_id: int) -> list[StoredKey]:
    return fetch_all(conn, LIST, {"project_id": project_id}, StoredKey)


def _find(stored: Sequence[StoredKey], key_id: str) -> StoredKey:
    for each in stored:
        if each.key_id == key_id:
            return each
    raise NotFound("API key not found: the project has no key with this id")


def _check_limit(stored: Sequence[StoredKey], now: datetime, active_max: int) -> None:
    active = sum(each.state(now) == "active" for each in stored)
    if active >= active_max:
        raise Conflict(f"the project has {active} active keys, and at most {active_max} are allowed: revoke one")
