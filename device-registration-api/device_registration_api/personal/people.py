"""The statements over people: their sealed fields in one database, their wrapped keys in another.

A key is stored before its person and deleted after it, because two databases have no common transaction.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID, uuid4

from pydantic import JsonValue

from device_registration_api.personal.blind_index import BlindIndex, Digest, IndexedField
from device_registration_api.personal.keeper import Keeper, WrappedKey
from device_registration_api.personal.sealing import Fields, new_key, seal, unseal
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import Statement, execute, fetch_all
from servicekit.errors import Conflict, NotFound

# Each read opens as many seals as it returns people.
PEOPLE_READ_MAX = 100
_TOO_MANY = f"at most {PEOPLE_READ_MAX} people are read at once"

INSERT_KEY = """
    INSERT INTO person_key (key_id, project_id, person_id, kek, wrapped)
    VALUES (%(key_id)s::uuid, %(project_id)s, %(person_id)s::uuid, %(kek)s, %(wrapped)s)
        ON CONFLICT (key_id) DO NOTHING
"""
SELECT_KEYS = """
    SELECT key_id::text, kek, wrapped
      FROM person_key
     WHERE project_id = %(project_id)s AND person_id = ANY(%(person_ids)s::uuid[])
"""
DELETE_KEYS = "DELETE FROM person_key WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
INSERT_PERSON = """
    INSERT INTO person (project_id, person_id, key_id, sealed)
    VALUES (%(project_id)s, %(person_id)s::uuid, %(key_id)s::uuid, %(sealed)s)
        ON CONFLICT (project_id, person_id) DO NOTHING
"""
SELECT_PEOPLE = """
    SELECT person_id::text, key_id::text, sealed
      FROM person
     WHERE project_id = %(project_id)s AND person_id = ANY(%(person_ids)s::uuid[])
"""
# In the order in which they were stored; the id decides between two of one transaction's time.
SELECT_PAGE = """
    SELECT person_id::text, key_id::text, sealed
      FROM person
     WHERE project_id = %(project_id)s
     ORDER BY created_at, person_id
     LIMIT %(limit)s OFFSET %(skip)s
"""
FIND_IMPORTED = """
    SELECT person_id::text
      FROM person
     WHERE project_id = %(project_id)s AND imported_id = %(imported_id)s
"""
LOCK_PERSON = """
    SELECT person_id::text, key_id::text, sealed
      FROM person
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
       FOR UPDATE
"""
UPDATE_PERSON = """
    UPDATE person
       SET sealed = %(sealed)s, updated_at = now()
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
"""
DELETE_PERSON = "DELETE FROM person WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
# A taken digest is no error of the database: the message of that error would have the digest, in the server's log.
INSERT_INDEX = """
    INSERT INTO person_index (project_id, field, digest, index_key, person_id)
    VALUES (%(project_id)s, %(field)s, %(digest)s, %(index_key)s, %(person_id)s::uuid)
        ON CONFLICT (project_id, field, digest) DO NOTHING
"""
DELETE_INDEX = "DELETE FROM person_index WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid"
FIND_PERSON = """
    SELECT person_id::text
      FROM person_index
     WHERE project_id = %(project_id)s AND field = %(field)s AND digest = ANY(%(digests)s::bytea[])
     LIMIT 1
"""


class Taken(Conflict):
    """Another person of the project has the same value in this field."""

    field: IndexedField

    def __init__(self, field: IndexedField) -> None:
        super().__init__(f"another person has the same {field.name.lower()}")
        self.field = field


class Person(NamedTuple):
    """One person with every field."""

    person_id: UUID
    fields: dict[str, JsonValue]


class _Key(NamedTuple):
    key_id: UUID
    wrapped: WrappedKey


class _Sealed(NamedTuple):
    person_id: UUID
    key_id: UUID
    sealed: bytes


class People:
    """People of every project. Each method has a limit in seconds, and raises NotRecorded when a database is away."""

    def __init__(self, personal: Database, keyring: Database, keeper: Keeper, index: BlindIndex) -> None:
        """`personal` and `keyring` are pools of the two databases, of the login of personal data."""
        self._personal = personal
        self._keyring = keyring
        self._keeper = keeper
        self._index = index

    async def create(
        self,
        project_id: int,
        fields: Fields,
        found_by: Collection[IndexedField],
        seconds_max: float,
        beside: Callable[[Connection, UUID], None] = lambda _conn, _person_id: None,
        person_id: UUID | None = None,
    ) -> UUID:
        """Store a new person, who can be found by some of the fields (`email`, `username`), and return the person's id.

        `beside` stores in the transaction of the person what belongs to the person. A `person_id` is a new one.

        Raises:
            Taken: another person of the project has the same value in a field of `found_by`.
            NotRecorded: no person was stored.
            OutcomeUnknown: the person may have been stored.
        """
        deadline = time.monotonic() + seconds_max
        person_id, key_id, key = person_id or uuid4(), uuid4(), new_key()
        sealed = seal(key, fields, project_id=project_id, person_id=person_id, key_id=key_id)
        digests = self._digests(project_id, fields, found_by)
        wrapped = self._keeper.wrap(key, key_id)
        named = {"project_id": project_id, "person_id": str(person_id), "key_id": str(key_id)}

        def store_key(lease: Lease) -> None:
            with lease.transaction() as conn:
                execute(conn, INSERT_KEY, {**named, **wrapped._asdict()})

        def store_person(lease: Lease) -> None:
            with lease.transaction() as conn:
                # The id is new, so a person who is there already is ours, of a commit whose answer was lost.
                if execute(conn, INSERT_PERSON, {**named, "sealed": sealed}):
                    _insert_index(conn, named, digests)
                    beside(conn, person_id)

        await self._keyring.run(lambda lease: repeat_until_known(lease, store_key), seconds_max)
        await self._personal.run(lambda lease: repeat_until_known(lease, store_person), deadline - time.monotonic())
        return person_id

    async def find(self, project_id: int, field: IndexedField, value: str, seconds_max: float) -> UUID | None:
        """Return the id of the person with this value; it is compared as `blind_index.normalized` says."""
        digests = [each.digest for each in self._index.digests(project_id, field, value)]
        named = {"project_id": project_id, "field": int(field), "digests": digests}

        def look_up(lease: Lease) -> list[UUID]:
            with lease.transaction() as conn:
                return fetch_all(conn, FIND_PERSON, named, UUID)

        found = await self._personal.run(look_up, seconds_max)
        return found[0] if found else None

    async def find_imported(self, project_id: int, imported_id: str, seconds_max: float) -> UUID | None:
        """Return the id of the person who had this number in the system that the data came from."""
        named = {"project_id": project_id, "imported_id": imported_id}

        def look_up(lease: Lease) -> list[UUID]:
            with lease.transaction() as conn:
                return fetch_all(conn, FIND_IMPORTED, named, UUID)

        found = await self._personal.run(look_up, seconds_max)
        return found[0] if found else None

    async def page(self, project_id: int, skip: int, limit: int, seconds_max: float) -> list[Person]:
        """Return the people after the first `skip`, the oldest first, PEOPLE_READ_MAX at most. Raises as `read`."""
        if limit > PEOPLE_READ_MAX:
            raise ValueError(_TOO_MANY)
        named = {"project_id": project_id, "skip": skip, "limit": limit}
        return await self._select(project_id, SELECT_PAGE, named, seconds_max)

    async def read(self, project_id: int, person_ids: Sequence[UUID], seconds_max: float) -> list[Person]:
        """Return the people who are there, in the order of `person_ids`, of which there are PEOPLE_READ_MAX at most.

        Raises:
            ValueError: there are more.
            SealBroken: a stored value was changed, or its KEK is not there any more.
        """
        if len(person_ids) > PEOPLE_READ_MAX:
            raise ValueError(_TOO_MANY)
        named = {"project_id": project_id, "person_ids": [str(each) for each in person_ids]}
        people = {each.person_id: each for each in await self._select(project_id, SELECT_PEOPLE, named, seconds_max)}
        return [people[each] for each in dict.fromkeys(person_ids) if each in people]

    async def update(
        self, project_id: int, person_id: UUID, changes: Fields, found_by: Collection[IndexedField], seconds_max: float
    ) -> Person:
        """Replace some fields, and return the person as changed; `found_by` is, as in `create`, all fields that the
        person can be found by afterwards.

        Raises:
            NotFound: there is no such person.
            Taken, NotRecorded, OutcomeUnknown: as `create`; the person is unchanged, or may be changed.
        """
        deadline = time.monotonic() + seconds_max
        named = {"project_id": project_id, "person_id": str(person_id)}
        # The key of a person never changes, so it may be read before the person is locked.
        keys = await self._keys({"project_id": project_id, "person_ids": [str(person_id)]}, deadline)

        def store(lease: Lease) -> Person:
            with lease.transaction() as conn:
                stored = [each for each in fetch_all(conn, LOCK_PERSON, named, _sealed) if each.key_id in keys]
                if not stored:
                    raise NotFound("there is no such person")
                [found] = stored
                key = self._keeper.unwrap(keys[found.key_id], found.key_id)
                fields = {**_fields(project_id, found, key), **changes}
                sealed = seal(key, fields, project_id=project_id, person_id=person_id, key_id=found.key_id)
                execute(conn, UPDATE_PERSON, {**named, "sealed": sealed})
                execute(conn, DELETE_INDEX, named)
                _insert_index(conn, named, self._digests(project_id, fields, found_by))
                return Person(person_id, fields)

        return await self._personal.run(lambda lease: repeat_until_known(lease, store), deadline - time.monotonic())

    async def erase(self, project_id: int, person_id: UUID, seconds_max: float) -> None:
        """Delete the person, and the key last. It may be repeated at any time, and must be after NotRecorded."""
        deadline = time.monotonic() + seconds_max
        named = {"project_id": project_id, "person_id": str(person_id)}

        def delete_person(lease: Lease) -> None:
            with lease.transaction() as conn:
                # The person first: its lock keeps out an update, which would insert index rows again.
                execute(conn, DELETE_PERSON, named)
                execute(conn, DELETE_INDEX, named)

        def delete_keys(lease: Lease) -> None:
            with lease.transaction() as conn:
                execute(conn, DELETE_KEYS, named)

        await self._personal.run(lambda lease: repeat_until_known(lease, delete_person), seconds_max)
        await self._keyring.run(lambda lease: repeat_until_known(lease, delete_keys), deadline - time.monotonic())

    async def _select(
        self, project_id: int, statement: Statement, named: Mapping[str, object], seconds_max: float
    ) -> list[Person]:
        deadline = time.monotonic() + seconds_max

        def select(lease: Lease) -> list[_Sealed]:
            with lease.transaction() as conn:
                return fetch_all(conn, statement, named, _sealed)

        sealed = await self._personal.run(select, seconds_max)
        wanted = {"project_id": project_id, "person_ids": [str(each.person_id) for each in sealed]}
        keys = await self._keys(wanted, deadline)
        # A person without a key is being erased, and is gone for a reader.
        return [self._open(project_id, each, keys[each.key_id]) for each in sealed if each.key_id in keys]

    async def _keys(self, named: Mapping[str, object], deadline: float) -> dict[UUID, WrappedKey]:
        def select(lease: Lease) -> list[_Key]:
            with lease.transaction() as conn:
                return fetch_all(conn, SELECT_KEYS, named, _key)

        return dict(await self._keyring.run(select, deadline - time.monotonic()))

    def _open(self, project_id: int, found: _Sealed, wrapped: WrappedKey) -> Person:
        key = self._keeper.unwrap(wrapped, found.key_id)
        return Person(found.person_id, _fields(project_id, found, key))

    def _digests(
        self, project_id: int, fields: Fields, found_by: Collection[IndexedField]
    ) -> list[tuple[IndexedField, Digest]]:
        # Under every key: while one is replaced, only a common key lets the database refuse the same value twice.
        values = ((field, fields.get(field.name.lower())) for field in found_by)
        pairs = [
            (field, digest)
            for field, value in values
            if isinstance(value, str)
            for digest in self._index.digests(project_id, field, value)
        ]
        # In one order for all writers, so that two of them wait for each other instead of ending in a deadlock.
        return sorted(pairs, key=lambda pair: (pair[0], pair[1].digest))


def _insert_index(
    conn: Connection, named: Mapping[str, object], digests: Sequence[tuple[IndexedField, Digest]]
) -> None:
    """Raises Taken, which rolls the caller's transaction back, when a value belongs to another person."""
    for field, digest in digests:
        if not execute(conn, INSERT_INDEX, {**named, "field": int(field), **digest._asdict()}):
            raise Taken(field)


def _fields(project_id: int, found: _Sealed, key: bytes) -> dict[str, JsonValue]:
    return unseal(key, found.sealed, project_id=project_id, person_id=found.person_id, key_id=found.key_id)


def _key(key_id: str, kek: int, wrapped: memoryview) -> _Key:
    return _Key(UUID(key_id), WrappedKey(kek, bytes(wrapped)))


def _sealed(person_id: str, key_id: str, sealed: memoryview) -> _Sealed:
    return _Sealed(UUID(person_id), UUID(key_id), bytes(sealed))
