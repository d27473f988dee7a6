"""Creates, finds, reads and changes the people of projects."""

import hmac
import re
import time
from functools import partial
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID, uuid4

from pydantic import BaseModel, JsonValue
from pydantic_core import to_json

from contract.people import IMPORTED_ID_DIGITS_MAX, Person, PersonDraft, StoreUserChange, UserChange
from device_registration_api.events.recording import KEY_REUSED
from device_registration_api.people import commands, lookups
from device_registration_api.personal import people as sealed
from device_registration_api.personal.addresses import check_email
from device_registration_api.personal.blind_index import Digest, IndexedField
from device_registration_api.personal.pools import PersonalData
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import Conflict, IdempotencyKeyReused, Invalid, NotFound
from servicekit.process import clock

NOT_FOUND = "User not found"
NOT_FOUND_BY_EMAIL = "User with given email not found"
# As the systems said it whose clients ask here.
_TAKEN = {IndexedField.EMAIL: "Email already registered", IndexedField.USERNAME: "Username already taken"}
_FOUND_BY = tuple(_TAKEN)
_FIELDS = frozenset(Person.model_fields) - {"id"}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_IMPORTED_ID = re.compile(rf"[0-9]{{1,{IMPORTED_ID_DIGITS_MAX}}}", re.ASCII)


class Created(NamedTuple):
    """A person as they were created, and whether that was an earlier request with the same idempotency key."""

    person: Person
    is_replay: bool


class _Repeatable(NamedTuple):
    """The identity of a creation that a client may repeat: of the key, and of the fields under each index key."""

    key: bytes
    body: list[Digest]


class ProjectPeople:
    """The people of every project; one for each process.

    Each method has a deadline, a reading of `time.monotonic`, and raises NotRecorded when a database is away; a method
    that writes may raise OutcomeUnknown.
    """

    def __init__(self, data: PersonalData, database: Database) -> None:
        """`database` is a pool of the first database."""
        self._data = data
        self._database = database

    async def create(self, project_id: int, draft: PersonDraft, deadline: float) -> Created:
        """Store a new person; a repeat under the same idempotency key gets the same answer.

        Raises:
            Invalid: the e-mail address is none.
            Conflict: another person of the project has the e-mail address or the name.
            IdempotencyKeyReused: the key was used for other fields.
        """
        check_email(draft.email)
        fields = _fields(draft)
        repeatable = self._repeatable(project_id, draft)
        repeated = await self._repeated(project_id, repeatable, fields, deadline)
        if repeated is not None:
            return repeated
        try:
            person_id = await self._store(project_id, fields, repeatable, deadline)
        except sealed.Taken as error:
            # The same request, sent twice at once, may have won.
            repeated = await self._repeated(project_id, repeatable, fields, deadline)
            if repeated is not None:
                return repeated
            raise Conflict(_TAKEN[error.field]) from error
        return Created(_person(person_id, fields), is_replay=False)

    async def find(self, project_id: int, email: str, deadline: float) -> UUID:
        """Return the id of the person with this e-mail address, in any case. Raises NotFound."""
        found = await self._data.people.find(project_id, IndexedField.EMAIL, email, _left(deadline))
        if found is None:
            raise NotFound(NOT_FOUND_BY_EMAIL)
        return found

    async def read(self, project_id: int, person_id: str, deadline: float) -> Person:
        """Return the person with this id: a UUID, or the number in the system that the person came from.

        Raises:
            NotFound: the project has no such person.
        """
        found = await self._data.people.read(
            project_id, [await self._known_id(project_id, person_id, deadline)], _left(deadline)
        )
        if not found:
            raise NotFound(NOT_FOUND)
        return _person(*found[0])

    async def page(self, project_id: int, skip: int, limit: int, deadline: float) -> list[Person]:
        """Return the people after the first `skip`, the oldest first."""
        return [_person(*each) for each in await self._data.people.page(project_id, skip, limit, _left(deadline))]

    async def change(self, project_id: int, person_id: str, change: UserChange, deadline: float) -> Person:
        """Replace the fields that are set, and return the person.

        Raises:
            Invalid: the e-mail address is none.
            NotFound: as `read`.
            Conflict: another person of the project has the e-mail address or the name.
        """
        known_id = await self._known_id(project_id, person_id, deadline)
        return await self._change(project_id, known_id, change, NOT_FOUND, deadline)

    async def change_found(self, project_id: int, change: StoreUserChange, deadline: float) -> Person:
        """The same for the person with the e-mail address in `change`, or else with the name in it.

        Raises:
            Invalid: there is neither; or as `change`.
            NotFound: there is no such person.
            Conflict: they belong to two different persons.
        """
        if not change.model_fields_set & {"email", "username"}:
            raise Invalid.single("an e-mail address or a username is needed to find the user", "body", "email")
        fields = _fields(change)
        found = [await self._found(project_id, field, fields, deadline) for field in _FOUND_BY]
        known = {each for each in found if each is not None}
        if not known:
            raise NotFound(NOT_FOUND_BY_EMAIL)
        if len(known) > 1:
            raise Conflict("the e-mail address and the username belong to two different users")
        return await self._change(project_id, known.pop(), change, NOT_FOUND_BY_EMAIL, deadline)

    async def _store(
        self, project_id: int, fields: dict[str, JsonValue], repeatable: _Repeatable | None, deadline: float
    ) -> UUID:
        # Nearly every conflict is found here, before anything is stored.
        for field in _FOUND_BY:
            if await self._found(project_id, field, fields, deadline) is not None:
                raise sealed.Taken(field)
        person_id, now = uuid4(), clock.now()
        # Before the person: whoever is erased later has a row that says so.
        await self._database.run(
            lambda lease: repeat_until_known(lease, partial(_insert_id, project_id=project_id, person_id=person_id)),
            _left(deadline),
        )

        def insert_key(conn: Connection, _: UUID) -> None:
            if repeatable is not None and not commands.insert_key(
                conn, project_id, repeatable.key, repeatable.body[0], person_id, now
            ):
                raise IdempotencyKeyReused(KEY_REUSED)

        await self._data.people.create(project_id, fields, _FOUND_BY, _left(deadline), insert_key, person_id)
        return person_id

    async def _change(
        self, project_id: int, person_id: UUID, change: UserChange, not_found: str, deadline: float
    ) -> Person:
        if change.email is not None:
            check_email(change.email)
        try:
            changed = await self._data.people.update(project_id, person_id, _fields(change), _FOUND_BY, _left(deadline))
        except sealed.Taken as error:
            raise Conflict(_TAKEN[error.field]) from error
        except NotFound as error:
            raise NotFound(not_found) from error
        return _person(*changed)

    async def _known_id(self, project_id: int, text: str, deadline: float) -> UUID:
        if _UUID.fullmatch(text):
            return UUID(text)
        found = None
        if _IMPORTED_ID.fullmatch(text):
            found = await self._data.people.find_imported(project_id, text, _left(deadline))
        if found is None:
            raise NotFound(NOT_FOUND)
        return found

    async def _found(
        self, project_id: int, field: IndexedField, fields: dict[str, JsonValue], deadline: float
    ) -> UUID | None:
        value = fields.get(field.name.lower())
        if not isinstance(value, str):
            return None
        return await self._data.people.find(project_id, field, value, _left(deadline))

    def _repeatable(self, project_id: int, draft: PersonDraft) -> _Repeatable | None:
        if draft.idempotency_key is None:
            return None
        # Fields in one order: what is compared is what was read.
        written = to_json(_fields(draft)).decode()
        key = sha256(draft.idempotency_key.encode()).digest()
        return _Repeatable(key, self._data.index.exact_digests(project_id, written))

    async def _repeated(
        self, project_id: int, repeatable: _Repeatable | None, fields: dict[str, JsonValue], deadline: float
    ) -> Created | None:
        """Return the first answer to a creation under this key; None if there was none."""
        if repeatable is None:
            return None
        now = clock.now()

        def look_up(lease: Lease) -> lookups.Creation | None:
            with lease.transaction() as conn:
                return lookups.created_under(conn, project_id, repeatable.key, now)

        found = await self._data.personal.run(look_up, _left(deadline))
        if found is None:
            return None
        if not any(hmac.compare_digest(each.digest, found.body_digest) for each in repeatable.body):
            raise IdempotencyKeyReused(KEY_REUSED)
        # The fields are those of the first request, whatever has been changed since.
        return Created(_person(found.person_id, fields), is_replay=True)


def _insert_id(lease: Lease, project_id: int, person_id: UUID) -> None:
    with lease.transaction() as conn:
        commands.insert_id(conn, project_id, person_id)


def _fields(model: BaseModel) -> dict[str, JsonValue]:
    """Return the fields of a person that are set."""
    fields: dict[str, JsonValue] = model.model_dump(include=set(_FIELDS), exclude_none=True)
    return fields


def _person(person_id: UUID, fields: dict[str, JsonValue]) -> Person:
    return Person.model_validate({**fields, "id": person_id})


def _left(deadline: float) -> float:
    return deadline - time.monotonic()
