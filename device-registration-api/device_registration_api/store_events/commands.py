"""Writes for store events: their columns, and the amounts by day. Callers own the transaction."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import LiteralString

from contract.store_events.columns import StoreEventColumns
from contract.store_events.data import canonical
from device_registration_api.events.presences import Presences
from device_registration_api.events.row_texts import row_texts
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from device_registration_api.store_events.numbers import EventNumbers
from device_registration_api.store_events.types import Types
from device_registration_api.store_events.users import LOCK_USERS, refuse
from servicekit.database.copy_encoding import INT4, INT8, JSONB, UUID
from servicekit.database.lease import Lease

COUNT_DAY = """
    INSERT INTO store_event_day AS d (project_id, type_id, bucket_start, slot, event_count)
    SELECT project_id, type_id, day, {slot}, sum(events)
      FROM json_to_recordset({counted}::json) AS counted(project_id int, type_id int, day date, events bigint)
     GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
        ON CONFLICT (project_id, type_id, bucket_start, slot)
        DO UPDATE SET event_count = d.event_count + excluded.event_count
"""
COUNT_ALL_DAY = """
    INSERT INTO store_event_all_day AS d (project_id, bucket_start, slot, event_count)
    SELECT project_id, day, {slot}, sum(events)
      FROM json_to_recordset({counted}::json) AS counted(project_id int, day date, events bigint)
     GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (project_id, bucket_start, slot)
        DO UPDATE SET event_count = d.event_count + excluded.event_count
"""


class StoredColumns(StoreEventColumns):
    """The fields of store events, the number of each one's type, and its own."""

    type_ids: list[int]
    event_numbers: list[int]


RETURNED: LiteralString = """
    event_number AS id, type, project_id AS store_id, person_id AS user_id, data, occurred_at AS created_at
"""


def complete() -> Callable[[Lease, Rows[StoreEventColumns]], Rows[StoreEventColumns]]:
    """Return a `complete` of EventTable, with a memory of its own of types and unused numbers."""
    types, numbers = Types(), EventNumbers()

    def complete_rows(lease: Lease, rows: Rows[StoreEventColumns]) -> Rows[StoreEventColumns]:
        fields = {name: getattr(rows.columns, name) for name in StoreEventColumns.model_fields}
        columns = StoredColumns.model_construct(
            **fields,
            type_ids=types.numbers(lease, list(zip(rows.project_ids, rows.columns.types, strict=True))),
            event_numbers=numbers.take(lease, len(rows)),
        )
        return replace(rows, columns=columns)

    return complete_rows


def write(rows: Rows[StoreEventColumns]) -> list[bytes]:
    """Return rows that were just stored as RETURNED has them."""
    columns = _stored(rows.columns)
    each = zip(
        columns.event_numbers,
        columns.types,
        rows.project_ids,
        columns.user_ids,
        columns.data,
        rows.happened_at(),
        strict=True,
    )
    return row_texts(
        {
            "id": number,
            "type": type_,
            "store_id": project_id,
            "user_id": user_id,
            "data": data,
            "created_at": at,
        }
        for number, type_, project_id, user_id, data, at in each
    )


def count(rows: Rows[StoreEventColumns]) -> Sequence[Counted]:
    """Return the same groups (project, type, day of the project's zone) for both rollups."""
    type_ids = type_ids_of(rows.columns)
    events = Counter(
        (project_id, type_id, rows.projects[project_id].days.day_of(at))
        for project_id, type_id, at in zip(rows.project_ids, type_ids, rows.happened_at(), strict=True)
    )
    counted = [
        {"project_id": project_id, "type_id": type_id, "day": day, "events": number}
        for (project_id, type_id, day), number in events.items()
    ]
    return [counted, counted]


def type_ids_of(columns: StoreEventColumns) -> Sequence[int]:
    """Return the number of each event's type, which is also its segment among the presences."""
    return _stored(columns).type_ids


def _stored(columns: StoreEventColumns) -> StoredColumns:
    assert isinstance(columns, StoredColumns)  # noqa: S101 - `complete` was called before
    return columns


STORE_EVENTS = EventTable(
    "store_events",
    "store_event",
    model=StoreEventColumns,
    columns=(
        FactColumn("type_id", INT4, "type_ids"),
        FactColumn("person_id", UUID, "user_ids"),
        FactColumn("data", JSONB, "data"),
        FactColumn("event_number", INT8, "event_numbers"),
    ),
    rollups=(Rollup("store_event_day", COUNT_DAY), Rollup("store_event_all_day", COUNT_ALL_DAY)),
    count=count,
    exported={
        "eventId": "event_id",
        "id": "event_number",
        "type": "type",
        "user_id": "person_id",
        "data": "data",
        "occurred_at": "occurred_at",
        "received_at": "received_at",
    },
    returned=RETURNED,
    returned_from="JOIN event_type USING (project_id, type_id)",
    write=write,
    spellings={"data": canonical, "created_at": datetime.fromisoformat},
    complete=complete(),
    refuse=refuse,
    refusing=(LOCK_USERS,),
    presences=Presences("store_event", "user_ids", segments=type_ids_of),
    refers_to="user_ids",
)
