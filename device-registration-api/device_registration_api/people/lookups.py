"""Reads, in the database of personal data, of what was created under an idempotency key."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# For this time, a repeat of a creation under its idempotency key gets the first answer.
CREATION_KEYS_KEPT = timedelta(hours=48)

BY_CREATION_KEY = """
    SELECT person_id::text, body_digest
      FROM creation_key
     WHERE project_id = %(project_id)s AND digest = %(digest)s AND created_at >= %(bound)s
"""


class Creation(NamedTuple):
    """An earlier creation: its person, and the keyed digest of its fields."""

    person_id: UUID
    body_digest: bytes


def created_under(conn: Connection, project_id: int, digest: bytes, now: datetime) -> Creation | None:
    """Return the creation under the idempotency key of this digest."""
    named = {"project_id": project_id, "digest": digest, "bound": now - CREATION_KEYS_KEPT}
    return next(iter(fetch_all(conn, BY_CREATION_KEY, named, _creation)), None)


def _creation(person_id: str, body_digest: memoryview) -> Creation:
    return Creation(UUID(person_id), bytes(body_digest))
