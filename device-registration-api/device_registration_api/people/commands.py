"""Writes beside the sealed people of projects. Callers own the transaction."""

from datetime import datetime
from uuid import UUID

from device_registration_api.people.lookups import CREATION_KEYS_KEPT
from device_registration_api.personal.blind_index import Digest
from servicekit.database import Connection
from servicekit.database.sql import execute

# In the first database.
INSERT_ID = """
    INSERT INTO project_person (project_id, person_id)
    VALUES (%(project_id)s, %(person_id)s::uuid)
        ON CONFLICT (project_id, person_id) DO NOTHING
"""
# In the database of personal data.
DELETE_OLD_KEY = """
    DELETE FROM creation_key
     WHERE project_id = %(project_id)s AND digest = %(digest)s AND created_at < %(bound)s
"""
DELETE_OLD_KEYS = "DELETE FROM creation_key WHERE created_at < %(bound)s"
INSERT_KEY = """
    INSERT INTO creation_key (project_id, digest, index_key, body_digest, person_id, created_at)
    VALUES (%(project_id)s, %(digest)s, %(index_key)s, %(body_digest)s, %(person_id)s::uuid, %(now)s)
        ON CONFLICT (project_id, digest) DO NOTHING
"""


def insert_id(conn: Connection, project_id: int, person_id: UUID) -> None:
    """Make the id of a new person known to the first database."""
    execute(conn, INSERT_ID, {"project_id": project_id, "person_id": str(person_id)})


def insert_key(conn: Connection, project_id: int, digest: bytes, body: Digest, person_id: UUID, now: datetime) -> bool:
    """Store the idempotency key of a creation; False if another creation has the same key."""
    named = {"project_id": project_id, "digest": digest}
    execute(conn, DELETE_OLD_KEY, {**named, "bound": now - CREATION_KEYS_KEPT})
    inserted = {"index_key": body.index_key, "body_digest": body.digest, "person_id": str(person_id), "now": now}
    return execute(conn, INSERT_KEY, {**named, **inserted}) > 0


def delete_old_keys(conn: Connection, now: datetime) -> None:
    """Delete the idempotency keys of creations that are no longer compared."""
    execute(conn, DELETE_OLD_KEYS, {"bound": now - CREATION_KEYS_KEPT})
