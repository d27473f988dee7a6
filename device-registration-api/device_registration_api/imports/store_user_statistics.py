"""Imports stores, their keys, users and events of AnniLevi/store-user-statistics-microservices (family 4)."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from pydantic_core import from_json

from contract.access import Scope, is_imported_key, key_digest
from contract.people import StoreUserChange
from contract.store_events.columns import StoreEventColumns
from contract.store_events.events import StoreEvent
from contract.stores import StoreDraft
from device_registration_api.events.rows import Rows
from device_registration_api.imports import projects
from device_registration_api.imports.people import Came, ImportedPerson, PeopleStore
from device_registration_api.imports.projects import KeyOfSource, ProjectOfSource
from device_registration_api.imports.recorder import Chunk
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.run import Run
from device_registration_api.imports.source import NO_TIME, Row
from device_registration_api.imports.validation import read
from device_registration_api.personal.addresses import check_email
from device_registration_api.personal.settings import PeopleSettings
from device_registration_api.store_events.commands import STORE_EVENTS
from servicekit.errors import Invalid

SYSTEM = "store-user-statistics"
STORES: LiteralString = "consumers"
KEYS: LiteralString = "api_keys"
USERS: LiteralString = "user"
EVENTS: LiteralString = "events"
TABLES = {
    STORES: ("id", "name", "is_active", "is_admin"),
    KEYS: ("key", "owner_id"),
    USERS: ("id", "username", "email", "first_name", "last_name", "phone", "store_id"),
    EVENTS: ("id", "type", "store_id", "user_id", "created_at", "data"),
}
KINDS = (STORE_EVENTS,)

READ_STORES: LiteralString = "SELECT id, name, is_active, is_admin FROM consumers ORDER BY id"
READ_KEYS: LiteralString = "SELECT key, owner_id FROM api_keys ORDER BY key"
READ_USERS: LiteralString = """
    SELECT id::text, username, email, first_name, last_name, phone, store_id FROM "user" ORDER BY id
"""
# As text: psycopg2 would parse it, without limits.
READ_EVENTS: LiteralString = """
    SELECT id, type, store_id, user_id,
           CASE WHEN created_at >= '1970-01-01' AND created_at < '9999-12-30' THEN created_at END, data::text
      FROM events
     ORDER BY id
"""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,255}", re.ASCII)
_NO_STORE = "its store was not imported"


@dataclass
class _Known:
    """The stores that were imported, by their ids in the source, and persons of theirs, with what came of them."""

    stores: dict[int, int] = field(default_factory=dict)
    people: dict[tuple[int, UUID], Came] = field(default_factory=dict)
    nameless: int = 0
    _persons: dict[str | None, ImportedPerson] = field(default_factory=dict)

    def person(self, run: Run, user_id: str | None) -> ImportedPerson:
        """Return the person of an event: the one with this id, or one who is made for this text."""
        if user_id not in self._persons:
            self._persons[user_id] = _person(run, user_id)
        return self._persons[user_id]


async def import_all(run: Run) -> None:
    """Store everything: stores first, events last. Raises as `Recorder.add`, and CommandError."""
    known = _Known()
    with closing(PeopleStore(run.target.settings, PeopleSettings(), is_dry_run=run.target.is_dry_run)) as people:
        _import_stores(run, known)
        _import_keys(run, known)
        _import_users(run, people, known)
        await _import_events(run, people, known)
    if known.nameless:
        run.notes.append(f"{known.nameless} persons without a name were made for events of users who are not in user")


def _import_stores(run: Run, known: _Known) -> None:
    report = run.report(STORES)
    administrators = 0
    for rows in run.source.chunks(STORES, READ_STORES):
        for row_id, name, is_active, is_admin in rows:
            named = projects.cut_name(name) if name and name.strip() else f"store {row_id}"
            store = read(StoreDraft, {"name": named, "is_active": is_active is not False})
            if isinstance(store, str):
                report.refuse(row_id, store)
                continue
            own_id = run.identities.of(STORES, row_id)
            project = ProjectOfSource(store.name, None, None, store.is_active, own_id, run.times.now, own_id)
            found = projects.import_project(run.target, project, None, report, row_id)
            if found is not None:
                known.stores[row_id] = found
                administrators += bool(is_admin)
        run.progress.advance(len(rows))
    if administrators:
        run.notes.append(f"{administrators} stores were administrators: here an account is one, see create-operator")


def _import_keys(run: Run, known: _Known) -> None:
    report = run.report(KEYS)
    keys: list[KeyOfSource] = []
    for rows in run.source.chunks(KEYS, READ_KEYS):
        for text, owner_id in rows:
            # A refused key is listed by its owner: the key itself is a secret.
            if not is_imported_key(text):
                report.refuse(owner_id, "key: must be 1 to 255 printable ASCII characters without spaces")
            elif owner_id not in known.stores:
                report.refuse(owner_id, _NO_STORE)
            else:
                keys.append(KeyOfSource(known.stores[owner_id], "imported", key_digest(text), run.times.now))
        run.progress.advance(len(rows))
    projects.import_keys(run.target, keys, [str(each) for each in Scope], report)


def _import_users(run: Run, people: PeopleStore, known: _Known) -> None:
    report = run.report(USERS)
    for rows in run.source.chunks(USERS, READ_USERS):
        of_stores: dict[int, list[ImportedPerson]] = {}
        for row_id, username, email, first_name, last_name, phone, store_id in rows:
            fields = {
                "username": username,
                "email": email,
                "first_name": first_name,
                "last_name": last_name,
                "phone": phone,
            }
            user = _read_user({name: value for name, value in fields.items() if not _is_blank(value)})
            if isinstance(user, str):
                report.refuse(row_id, user)
            elif store_id not in known.stores:
                report.refuse(row_id, _NO_STORE)
            else:
                person = ImportedPerson(UUID(row_id), user.model_dump(exclude_unset=True))
                of_stores.setdefault(known.stores[store_id], []).append(person)
        for project_id, persons in of_stores.items():
            for person, came in zip(persons, people.store(project_id, persons, run.target.conn), strict=True):
                if report.came(str(person.person_id), came):
                    known.people[project_id, person.person_id] = came
        run.progress.advance(len(rows))


# What comes of persons who may have events.
_STORED = {Came.NEW, Came.STORED}


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _read_user(fields: dict[str, object]) -> StoreUserChange | str:
    user = read(StoreUserChange, fields)
    if isinstance(user, StoreUserChange) and user.email is not None:
        try:
            check_email(user.email)
        except Invalid:
            return "email: must be an e-mail address"
    return user


async def _import_events(run: Run, people: PeopleStore, known: _Known) -> None:
    report = run.report(EVENTS)
    recorder = run.recorder(STORE_EVENTS, report)
    for rows in run.source.chunks(EVENTS, READ_EVENTS):
        await recorder.add(_events(run, report, people, known, rows))
    await recorder.finish()


def _events(
    run: Run, report: TableReport, people: PeopleStore, known: _Known, rows: Sequence[Row]
) -> Chunk[StoreEventColumns]:
    ids, types, store_ids, of_users, times, data = map(list, zip(*rows, strict=True))
    # Most users have many events.
    persons = {user_id: known.person(run, user_id) for user_id in dict.fromkeys(of_users)}
    person_texts = {user_id: str(person.person_id) for user_id, person in persons.items()}
    named_texts = {user_id: text for user_id, text in person_texts.items() if not _is_blank(user_id)}
    try:
        instants = run.times.instants(times)
        project_ids = [known.stores[each] for each in store_ids]
        columns = StoreEventColumns.parse(types, [named_texts[each] for each in of_users], data)
    except (KeyError, ValueError):
        ids, project_ids, instants, of_users, columns = _valid(run, report, known, rows, person_texts)
    named: dict[int, dict[UUID, ImportedPerson]] = {}
    users = dict.fromkeys(zip(project_ids, of_users, strict=True))
    for project_id, user_id in users:
        named.setdefault(project_id, {})[persons[user_id].person_id] = persons[user_id]
    for project_id, of_project in named.items():
        _make_nameless(run, people, known, project_id, of_project)
    events = Chunk(ids, Rows(project_ids, instants, run.identities.texts(EVENTS, ids), columns, {}, {}))
    comes = {(project_id, user): known.people[project_id, persons[user].person_id] for project_id, user in users}
    if not _STORED.issuperset(comes.values()):
        each = enumerate(zip(project_ids, of_users, strict=True))
        places = [place for place, user in each if report.may_have_events(ids[place], comes[user])]
        events = Chunk([ids[place] for place in places], events.rows.select(places))
    run.progress.advance(len(rows) - len(events.row_ids))
    return events


def _valid(
    run: Run, report: TableReport, known: _Known, rows: Sequence[Row], person_texts: Mapping[str | None, str]
) -> tuple[list[int], list[int], list[datetime], list[str], StoreEventColumns]:
    found: list[tuple[int, int, datetime, str, StoreEvent]] = []
    for row_id, type_, store_id, user_id, at, data in rows:
        event = read(StoreEvent, {"type": type_, "user_id": person_texts[user_id], "data": _data(data)})
        instant = run.times.instant(at)
        if isinstance(event, str):
            report.refuse(row_id, event)
        elif user_id is None or not user_id.strip():
            report.refuse(row_id, "user_id: missing")
        elif instant is None:
            report.refuse(row_id, NO_TIME)
        elif store_id not in known.stores:
            report.refuse(row_id, _NO_STORE)
        else:
            found.append((row_id, known.stores[store_id], instant, user_id, event))
    columns = StoreEventColumns.model_construct(
        types=[each[4].type for each in found],
        user_ids=[each[4].user_id for each in found],
        data=[each[4].data for each in found],
    )
    instants, users = [each[2] for each in found], [each[3] for each in found]
    return [each[0] for each in found], [each[1] for each in found], instants, users, columns


def _person(run: Run, user_id: str | None) -> ImportedPerson:
    text = (user_id or "").strip()
    if _UUID.fullmatch(text):
        return ImportedPerson(UUID(text), {})
    return ImportedPerson(run.identities.of("user_id", text), {}, text if _NUMBER.fullmatch(text) else None)


def _data(text: str | None) -> object:
    """Return the data of an event; an event without data has none. What cannot be read is refused like no object."""
    if text is None:
        return {}
    try:
        return from_json(text)
    except ValueError:
        return None


def _make_nameless(
    run: Run, people: PeopleStore, known: _Known, project_id: int, persons: dict[UUID, ImportedPerson]
) -> None:
    new = [each for each in persons.values() if (project_id, each.person_id) not in known.people]
    for person, came in zip(new, people.store(project_id, new, run.target.conn), strict=True):
        known.people[project_id, person.person_id] = came
        known.nameless += came is Came.NEW
