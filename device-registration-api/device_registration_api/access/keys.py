"""Creates, lists, revokes and rotates the API keys of projects.

Each change locks the project's row first, so that two at once cannot exceed the limit of active keys. A key is shown
once, when it is made; the database has its SHA-256.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from contract.access import Scope, new_key
from contract.projects import ProjectName
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.process import clock

LIFE_DEFAULT = timedelta(days=60)
OVERLAP_DEFAULT = timedelta(hours=24)
OVERLAP_MAX = timedelta(days=30)
_NAME: TypeAdapter[str] = TypeAdapter(ProjectName)

LOCK_PROJECT = "SELECT project_id FROM project WHERE project_key = %(project_key)s FOR NO KEY UPDATE"
INSERT = """
    INSERT INTO api_key (project_id, key_id, name, scopes, digest, created_at, expires_at)
    VALUES (%(project_id)s, %(key_id)s, %(name)s, %(scopes)s, %(digest)s, %(created_at)s, %(expires_at)s)
"""
LIST = """
    SELECT key_id, name, scopes, created_at, expires_at, revoked_at, replaced_by
      FROM api_key
     WHERE project_id = %(project_id)s
     ORDER BY created_at, key_id
"""
REVOKE = """
    UPDATE api_key SET revoked_at = %(now)s
     WHERE project_id = %(project_id)s AND key_id = %(key_id)s AND revoked_at IS NULL
"""
REPLACE = """
    UPDATE api_key
       SET replaced_by = %(replaced_by)s, expires_at = %(expires_at)s, revoked_at = %(revoked_at)s
     WHERE project_id = %(project_id)s AND key_id = %(key_id)s
"""


class StoredKey(NamedTuple):
    """What is stored about a key, without its digest; `expires_at` is None for a key that never expires."""

    key_id: str
    name: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: str | None

    def state(self, now: datetime) -> str:
        """Return active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= now else "active"


class _Project(NamedTuple):
    project_id: int


def create_key(
    conn: Connection,
    project_key: str,
    name: str,
    scopes: Sequence[Scope],
    *,
    expires_at: datetime | None,
    active_max: int,
) -> str:
    """Store a new key, commit, and return its text, which is nowhere else.

    Raises:
        CommandError: the project is unknown or has `active_max` active keys, or a value cannot be used.
    """
    try:
        name = _NAME.validate_python(name)
    except ValidationError as error:
        raise CommandError(f"the key's name cannot be used: {error.errors()[0]['msg']}") from None
    now = clock.now()
    if not scopes:
        raise CommandError("a key needs a scope")
    if expires_at is not None and expires_at <= now:
        raise CommandError("the key would have expired already")
    with conn:
        project_id = _lock_project(conn, project_key)
        _check_limit(_stored(conn, project_id), now, active_max)
        return _insert(conn, project_id, name, sorted(scopes), now, expires_at)[1]


def list_keys(conn: Connection, project_key: str) -> list[StoredKey]:
    """Return all keys of a project, the oldest first. Raises CommandError for an unknown project."""
    with conn:
        return _stored(conn, _lock_project(conn, project_key))


def revoke_key(conn: Connection, project_key: str, key_id: str) -> None:
    """Revoke a key, and commit; a repeat changes nothing. Raises CommandError for an unknown project or key."""
    with conn:
        project_id = _lock_project(conn, project_key)
        _find(_stored(conn, project_id), key_id)
        execute(conn, REVOKE, {"project_id": project_id, "key_id": key_id, "now": clock.now()})


def rotate_key(conn: Connection, project_key: str, key_id: str, *, overlap: timedelta, active_max: int) -> str:
    """Store a key with the same name, scopes and length of life, commit, and return its text.

    The old key stays valid for the overlap, or until its own end if that is earlier.

    Raises:
        CommandError: the project or the key is unknown; the key is revoked, expired or rotated already; or the project
            would have more than `active_max` active keys.
    """
    now = clock.now()
    with conn:
        project_id = _lock_project(conn, project_key)
        stored = _stored(conn, project_id)
        old = _find(stored, key_id)
        if old.state(now) != "active":
            raise CommandError(f"key {key_id} is {old.state(now)}: create another one")
        if old.replaced_by is not None:
            raise CommandError(f"key {key_id} was rotated already: rotate its successor {old.replaced_by}")
        _check_limit([each for each in stored if overlap or each is not old], now, active_max)
        expires_at = None if old.expires_at is None else now + (old.expires_at - old.created_at)
        new_id, text = _insert(conn, project_id, old.name, old.scopes, now, expires_at)
        end = now + overlap if old.expires_at is None else min(now + overlap, old.expires_at)
        replacement = {
            "project_id": project_id,
            "key_id": key_id,
            "replaced_by": new_id,
            "expires_at": end,
            "revoked_at": None if overlap else now,
        }
        execute(conn, REPLACE, replacement)
    return text


def _insert(
    conn: Connection,
    project_id: int,
    name: str,
    scopes: Sequence[str],
    created_at: datetime,
    expires_at: datetime | None,
) -> tuple[str, str]:
    key = new_key()
    parameters = {
        "project_id": project_id,
        "key_id": key.key_id,
        "name": name,
        "scopes": [str(each) for each in scopes],
        "digest": key.digest,
        "created_at": created_at,
        "expires_at": expires_at,
    }
    execute(conn, INSERT, parameters)
    return key.key_id, key.text


def _lock_project(conn: Connection, project_key: str) -> int:
    found = fetch_all(conn, LOCK_PROJECT, {"project_key": project_key}, _Project)
    if not found:
        raise CommandError("there is no project with this key")
    return found[0].project_id


def _stored(conn: Connection, project_id: int) -> list[StoredKey]:
    return fetch_all(conn, LIST, {"project_id": project_id}, StoredKey)


def _find(stored: Sequence[StoredKey], key_id: str) -> StoredKey:
    for each in stored:
        if each.key_id == key_id:
            return each
    raise CommandError("the project has no key with this id")


def _check_limit(stored: Sequence[StoredKey], now: datetime, active_max: int) -> None:
    active = sum(each.state(now) == "active" for each in stored)
    if active >= active_max:
        raise CommandError(f"the project has {active} active keys, and at most {active_max} are allowed: revoke one")
