"""Reads everything that is held about one person: SELECT and nothing else. Callers own the transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from psycopg2 import sql
from pydantic_core import from_json

from contract.export import ExportedDevice, ExportPage
from device_registration_api.events.idempotency import run_plainly
from device_registration_api.events.rows import FactKey
from device_registration_api.events.table import EventTable
from device_registration_api.maintenance.catalogue import FACT_TABLES, FactTable
from servicekit.database import Connection
from servicekit.database.sql import fetch_all
from servicekit.errors import Invalid, NotFound

# With the largest events, a page has some megabytes.
PAGE_ROWS = 200
_BETWEEN = "/"  # in neither part of a cursor

PERSON = """
    SELECT created_at, suppressed_at FROM project_person
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND erased_at IS NULL
"""
DEVICES = """
    SELECT device_id, name, created_at FROM device
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
     ORDER BY device_number
"""
KEYS = sql.SQL("""
    SELECT received_at, event_id::text
      FROM {fact}
     WHERE project_id = %(project_id)s AND {of_person}
       AND (received_at, event_id) > (%(received_at)s::timestamptz, %(event_id)s::uuid)
     ORDER BY received_at, event_id
     LIMIT %(rows)s
""")
OF_PERSON = sql.SQL("{person} = %(person_id)s::uuid")
OF_THINGS = sql.SQL("""
    {person} = ANY (ARRAY(
        SELECT {person} FROM {things} WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid))
""")


class PersonState(NamedTuple):
    """What the first database has of a person."""

    created_at: datetime
    suppressed_at: datetime | None


class _Key(NamedTuple):
    received_at: str
    event_id: str


_FIRST = _Key("-infinity", str(UUID(int=0)))


def state(conn: Connection, project_id: int, person_id: UUID) -> PersonState:
    """Return since when a person is known, and is not collected. Raises NotFound, also for one who is being erased."""
    found = fetch_all(conn, PERSON, {"project_id": project_id, "person_id": str(person_id)}, PersonState)
    if not found:
        raise NotFound("User not found")
    return found[0]


def devices(conn: Connection, project_id: int, person_id: UUID) -> list[ExportedDevice]:
    """Return the devices of a person."""
    return fetch_all(conn, DEVICES, {"project_id": project_id, "person_id": str(person_id)}, _device)


def kinds(conn: Connection, tables: Sequence[EventTable[Any]]) -> list[str]:
    """Return the kinds of event that name a person."""
    return [table.kind for table in tables if _fact_table(conn, table) is not None]


def page(conn: Connection, table: EventTable[Any], project_id: int, person_id: UUID, after: str | None) -> ExportPage:
    """Return some events of a person as clients know them, from a cursor of the page before.

    Raises:
        NotFound: events of this kind name nobody.
        Invalid: this is no cursor.
    """
    fact = _fact_table(conn, table)
    if fact is None or table.read is None:
        raise NotFound("events of this kind name nobody")
    named: Mapping[str, object] = {
        "project_id": project_id,
        "person_id": str(person_id),
        "rows": PAGE_ROWS,
        **(_FIRST if after is None else _cursor(after))._asdict(),
    }
    person = sql.Identifier(str(fact.person_column))
    of_person = (
        OF_PERSON.format(person=person)
        if fact.person_table is None
        else OF_THINGS.format(person=person, things=sql.Identifier("public", fact.person_table))
    )
    keys = fetch_all(conn, KEYS.format(fact=fact.table(), of_person=of_person), named, partial(FactKey, project_id))
    stored = table.stored_rows(conn, run_plainly(conn), keys)
    return ExportPage(
        events=[from_json(stored[key.event_id]) for key in keys if key.event_id in stored],
        next=_BETWEEN.join(_key(keys[-1])) if len(keys) == PAGE_ROWS else None,
    )


def _fact_table(conn: Connection, table: EventTable[Any]) -> FactTable | None:
    return next(
        (
            each
            for each in fetch_all(conn, FACT_TABLES, {}, FactTable)
            if each.fact == table.fact and each.person_column is not None
        ),
        None,
    )


def _cursor(text: str) -> _Key:
    received_at, _, event_id = text.partition(_BETWEEN)
    try:
        return _Key(datetime.fromisoformat(received_at).isoformat(), str(UUID(event_id)))
    except ValueError:
        raise Invalid.single("is no cursor", "query", "after") from None


def _key(key: FactKey) -> _Key:
    return _Key(key.received_at.isoformat(), key.event_id)


def _device(device_id: str, name: str | None, created_at: datetime) -> ExportedDevice:
    return ExportedDevice(device_id=device_id, name=name, created_at=created_at)
