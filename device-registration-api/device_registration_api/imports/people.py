"""Stores many persons at once, as `personal.people` does one: keys in the keyring, then sealed fields."""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID, uuid4

from device_registration_api.events.json_parameter import as_json
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.blind_index import BlindIndex, IndexedField
from device_registration_api.personal.connect import connect_apart
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.sealing import Fields, new_key, seal
from device_registration_api.personal.settings import PeopleSettings
from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.schemas import KEYRING, PERSONAL
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

_STATEMENT_SECONDS_MAX = 60
_NEEDED = ("personal_db_user", "personal_db_password", "personal_keks", "personal_index_keys")

FIND_ERASED = """
    SELECT person_id::text FROM erased_person
     WHERE project_id = %(project_id)s AND person_id = ANY(%(person_ids)s::uuid[])
"""
FIND_STORED = """
    SELECT person_id::text FROM person
     WHERE project_id = %(project_id)s AND person_id = ANY(%(person_ids)s::uuid[])
"""
FIND_TAKEN = """
    SELECT i.field, encode(i.digest, 'hex')
      FROM person_index AS i
      JOIN json_to_recordset(%(digests)s::json) AS sent(field smallint, digest text)
        ON i.field = sent.field AND i.digest = decode(sent.digest, 'hex')
     WHERE i.project_id = %(project_id)s
"""
FIND_NUMBERS = """
    SELECT imported_id FROM person
     WHERE project_id = %(project_id)s AND imported_id = ANY(%(numbers)s)
"""
INSERT_KEYS = """
    INSERT INTO person_key (key_id, project_id, person_id, kek, wrapped)
    SELECT key_id, %(project_id)s, person_id, kek, decode(wrapped, 'hex')
      FROM json_to_recordset(%(keys)s::json) AS sent(key_id uuid, person_id uuid, kek smallint, wrapped text)
"""
# Lists are in the order of created_at, so each has a microsecond of its own.
INSERT_PEOPLE = """
    INSERT INTO person (project_id, person_id, key_id, sealed, imported_id, created_at)
    SELECT %(project_id)s, person_id, key_id, decode(sealed, 'hex'), imported_id,
           clock_timestamp() + place * interval '1 microsecond'
      FROM json_to_recordset(%(people)s::json)
        AS sent(place int, person_id uuid, key_id uuid, sealed text, imported_id text)
"""
INSERT_INDEX = """
    INSERT INTO person_index (project_id, field, digest, index_key, person_id)
    SELECT %(project_id)s, field, decode(digest, 'hex'), index_key, person_id
      FROM json_to_recordset(%(digests)s::json)
        AS sent(field smallint, digest text, index_key smallint, person_id uuid)
     ORDER BY field, digest
        ON CONFLICT (project_id, field, digest) DO NOTHING
"""
# In the first database.
INSERT_IDS = """
    INSERT INTO project_person (project_id, person_id)
    SELECT %(project_id)s, unnest(%(person_ids)s::uuid[])
        ON CONFLICT (project_id, person_id) DO NOTHING
"""


class ImportedPerson(NamedTuple):
    """A person of the source, and the number that the person had there."""

    person_id: UUID
    fields: Fields
    imported_id: str | None = None


class Came(StrEnum):
    """What came of a person; the text of a refusal is its reason."""

    NEW = "new"
    STORED = "stored"
    ERASED = "the person was erased here"
    EMAIL_TAKEN = "another person has this e-mail address"
    USERNAME_TAKEN = "another person has this user name"
    NUMBER_TAKEN = "another person of the project has this number: import each installation into a project of its own"


_TAKEN = {IndexedField.EMAIL: Came.EMAIL_TAKEN, IndexedField.USERNAME: Came.USERNAME_TAKEN}
_FOUND_BY = tuple(_TAKEN)


class PeopleStore:
    """The two databases of personal data, for the time of an import."""

    def __init__(self, database: DatabaseSettings, settings: PeopleSettings, *, is_dry_run: bool) -> None:
        """Connect. A dry run remembers what it would have stored.

        Raises:
            CommandError: a setting is missing.
            psycopg2.OperationalError: a server cannot be reached, or refuses the login.
        """
        missing = [name.upper() for name in _NEEDED if getattr(settings, name) is None]
        if missing:
            message = f"this system has personal data: set {', '.join(missing)} in the environment"
            raise CommandError(message)
        self._is_dry_run = is_dry_run
        self._taken = defaultdict[int, set[tuple[int, str]]](set)
        self._seen: set[tuple[int, UUID]] = set()
        self._keeper = Keeper(settings.keks())
        self._index = BlindIndex(settings.index_keys())
        with ExitStack() as undo:
            self.personal, self._keyring = (
                undo.enter_context(
                    closing(connect_apart(schema, database, settings, statement_seconds_max=_STATEMENT_SECONDS_MAX))
                )
                for schema in (PERSONAL, KEYRING)
            )
            self._closing = undo.pop_all()

    def close(self) -> None:
        """Close the connections."""
        self._closing.close()

    def _outcomes(self, project_id: int, people: Sequence[ImportedPerson]) -> list[Came]:
        """Return what comes of each; of two with one e-mail address or name, the first one has it."""
        named = {"project_id": project_id}
        ids = named | {"person_ids": [str(each.person_id) for each in people]}
        with self._keyring:
            erased = set(fetch_all(self._keyring, FIND_ERASED, ids, UUID))
        with self.personal:
            stored = set(fetch_all(self.personal, FIND_STORED, ids, UUID))
            stored |= {each.person_id for each in people if (project_id, each.person_id) in self._seen}
            new = [each for each in people if each.person_id not in stored | erased]
            digests = {each.person_id: self._digests(project_id, each.fields) for each in new}
            sent = [{"field": field, "digest": digest} for each in digests.values() for field, digest, _ in each]
            taken: set[tuple[int, str]] = set(
                fetch_all(self.personal, FIND_TAKEN, named | {"digests": as_json(sent)}, lambda *row: row)
            )
            taken |= self._taken[project_id]
            numbers = [each.imported_id for each in new if each.imported_id is not None]
            numbered = set(fetch_all(self.personal, FIND_NUMBERS, named | {"numbers": numbers}, str))
        found = []
        for person in people:
            if person.person_id in erased:
                found.append(Came.ERASED)
            elif person.person_id in stored:
                found.append(Came.STORED)
            else:
                own = [(field, digest) for field, digest, _ in digests[person.person_id]]
                other = next((field for field, digest in own if (field, digest) in taken), None)
                if other is not None:
                    found.append(_TAKEN[IndexedField(other)])
                elif person.imported_id in numbered:
                    found.append(Came.NUMBER_TAKEN)
                else:
                    taken.update(own)
                    found.append(Came.NEW)
                    if self._is_dry_run:
                        self._taken[project_id].update(own)
                        self._seen.add((project_id, person.person_id))
        return found

    def store(
        self,
        project_id: int,
        people: Sequence[ImportedPerson],
        first: Connection | None = None,
        beside: Callable[[Connection, Collection[UUID]], None] = lambda _conn, _new: None,
    ) -> list[Came]:
        """Store the persons who are not stored yet, each id once, and return what came of each.

        `first` is a connection to the first database, which knows the ids of the persons of projects. `beside` stores,
        in the transaction of the persons, what belongs to the new ones.

        Raises:
            CommandError: somebody else stored one of them meanwhile; nothing was stored.
        """
        found = self._outcomes(project_id, people)
        new = [person for person, came in zip(people, found, strict=True) if came is Came.NEW]
        if not new or self._is_dry_run:
            return found
        named = {"project_id": project_id}
        if first is not None:
            with first:
                execute(first, INSERT_IDS, named | {"person_ids": [str(each.person_id) for each in new]})
        keys: list[Mapping[str, object]] = []
        rows: list[Mapping[str, object]] = []
        digests: list[Mapping[str, object]] = []
        for place, person in enumerate(new):
            key_id, key = uuid4(), new_key()
            owner = {"person_id": str(person.person_id), "key_id": str(key_id)}
            wrapped = self._keeper.wrap(key, key_id)
            sealed = seal(key, person.fields, project_id=project_id, person_id=person.person_id, key_id=key_id)
            keys.append(owner | {"kek": wrapped.kek, "wrapped": wrapped.wrapped.hex()})
            rows.append(owner | {"place": place, "sealed": sealed.hex(), "imported_id": person.imported_id})
            digests += [
                {"field": field, "digest": digest, "index_key": index_key, "person_id": str(person.person_id)}
                for field, digest, index_key in self._digests(project_id, person.fields)
            ]
        # Before the persons: two databases have no common transaction, and a key without a person is deleted later.
        with self._keyring:
            execute(self._keyring, INSERT_KEYS, named | {"keys": as_json(keys)})
        with self.personal:
            execute(self.personal, INSERT_PEOPLE, named | {"people": as_json(rows)})
            if execute(self.personal, INSERT_INDEX, named | {"digests": as_json(digests)}) < len(digests):
                raise CommandError("somebody registered one of these persons meanwhile: repeat the command")
            beside(self.personal, {each.person_id for each in new})
        return found

    def _digests(self, project_id: int, fields: Fields) -> list[tuple[int, str, int]]:
        values = ((field, fields.get(field.name.lower())) for field in _FOUND_BY)
        return [
            (int(field), digest.digest.hex(), digest.index_key)
            for field, value in values
            if isinstance(value, str)
            for digest in self._index.digests(project_id, field, value)
        ]
