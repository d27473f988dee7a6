"""Erases a person from `personal`, then the person's key from `keyring`. Neither a KEK nor an index key is needed."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.connect import pool_apart
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.schemas import KEYRING, PERSONAL
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import execute, fetch_all
from servicekit.process import clock

DELETE_PERSON = "DELETE FROM person WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
DELETE_INDEX = "DELETE FROM person_index WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
DELETE_KEYS = "DELETE FROM person_key WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
REMEMBER = """
    INSERT INTO erased_person (project_id, person_id, receipt, erased_at)
    VALUES (%(project_id)s, %(person_id)s::uuid, %(receipt)s::uuid, %(erased_at)s)
        ON CONFLICT (project_id, person_id) DO NOTHING
"""
REMEMBERED = """
    SELECT project_id, person_id::text, receipt::text, erased_at
      FROM erased_person
     ORDER BY erased_at, project_id, person_id
"""
# A person goes before the index, as above.
OF_PROJECT_IN_PERSONAL = (
    """
    DELETE FROM person WHERE (project_id, person_id) IN (
           SELECT project_id, person_id FROM person WHERE project_id = %(project_id)s LIMIT %(rows)s)
    """,
    """
    DELETE FROM person_index WHERE (project_id, field, digest) IN (
           SELECT project_id, field, digest FROM person_index WHERE project_id = %(project_id)s LIMIT %(rows)s)
    """,
)
OF_PROJECT_IN_KEYRING = (
    """
    DELETE FROM person_key WHERE key_id IN (
           SELECT key_id FROM person_key WHERE project_id = %(project_id)s LIMIT %(rows)s)
    """,
)
BATCH_ROWS = 5_000
LEFT_IN_PERSONAL = """
    SELECT (SELECT count(*) FROM person WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid)
           + (SELECT count(*) FROM person_index
               WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid)
"""
LEFT_IN_KEYRING = """
    SELECT count(*) FROM person_key WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""


class ErasedPerson(NamedTuple):
    """What is kept of an erased person."""

    project_id: int
    person_id: UUID
    receipt: UUID
    erased_at: datetime


class PersonEraser:
    """Each method has a limit in seconds, and raises NotRecorded when a database is away."""

    def __init__(self, personal: Database, keyring: Database) -> None:
        """`personal` and `keyring` are pools of the two databases, of the login of personal data."""
        self._personal = personal
        self._keyring = keyring

    async def erase(self, project_id: int, person_id: UUID, receipt: UUID | None, seconds_max: float) -> None:
        """Delete the person, and the key last. It may be repeated at any time, and must be after NotRecorded.

        The keyring remembers who was erased under a receipt, in the transaction that deletes the key.
        """
        deadline = time.monotonic() + seconds_max
        named: dict[str, object] = {"project_id": project_id, "person_id": str(person_id)}
        kept = named | {"receipt": str(receipt), "erased_at": clock.now()}

        def delete_person(lease: Lease) -> None:
            with lease.transaction() as conn:
                # The person first: its lock keeps out an update, which would insert index rows again.
                execute(conn, DELETE_PERSON, named)
                execute(conn, DELETE_INDEX, named)

        def delete_keys(lease: Lease) -> None:
            with lease.transaction() as conn:
                execute(conn, DELETE_KEYS, named)
                if receipt is not None:
                    execute(conn, REMEMBER, kept)

        await self._personal.run(lambda lease: repeat_until_known(lease, delete_person), seconds_max)
        await self._keyring.run(lambda lease: repeat_until_known(lease, delete_keys), deadline - time.monotonic())

    async def left(self, project_id: int, person_id: UUID, seconds_max: float) -> Mapping[str, int]:
        """Return the number of rows that each database has of a person."""
        named = {"project_id": project_id, "person_id": str(person_id)}

        def in_personal(lease: Lease) -> int:
            with lease.transaction() as conn:
                [rows] = fetch_all(conn, LEFT_IN_PERSONAL, named, int)
            return rows

        def in_keyring(lease: Lease) -> int:
            with lease.transaction() as conn:
                [rows] = fetch_all(conn, LEFT_IN_KEYRING, named, int)
            return rows

        return {
            PERSONAL.name: await self._personal.run(in_personal, seconds_max),
            KEYRING.name: await self._keyring.run(in_keyring, seconds_max),
        }

    async def remembered(self, seconds_max: float) -> list[ErasedPerson]:
        """Return everybody who was erased, the earliest first."""

        def read(lease: Lease) -> list[ErasedPerson]:
            with lease.transaction() as conn:
                return fetch_all(conn, REMEMBERED, {}, _erased)

        return await self._keyring.run(read, seconds_max)

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        self._personal.close()
        self._keyring.close()


def erase_project(personal: Connection, keyring: Connection, project_id: int) -> None:
    """Delete all people of a project, and the keys last, in small transactions. It may be repeated at any time.

    Raises psycopg2.Error when a server cannot be reached; completed batches stay committed.
    """
    for conn, statements in ((personal, OF_PROJECT_IN_PERSONAL), (keyring, OF_PROJECT_IN_KEYRING)):
        for statement in statements:
            deleted = BATCH_ROWS
            while deleted == BATCH_ROWS:
                with conn:
                    deleted = execute(conn, statement, {"project_id": project_id, "rows": BATCH_ROWS})


def new_eraser(settings: KeyringSettings, beside: DatabaseSettings, application: str) -> PersonEraser | None:
    """Return the eraser of an installation, or None where personal data is not configured.

    Raises:
        CommandError: a URL is invalid.
    """
    if not settings.is_complete():
        return None
    return PersonEraser(*(pool_apart(schema, beside, settings, application) for schema in (PERSONAL, KEYRING)))


def _erased(project_id: int, person_id: str, receipt: str, erased_at: datetime) -> ErasedPerson:
    return ErasedPerson(project_id, UUID(person_id), UUID(receipt), erased_at)
