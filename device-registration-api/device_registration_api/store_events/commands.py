"""Writes for store events: their columns, and the amounts by day. Callers own the transaction."""

from collections import Counter
from collections.abc import Sequence
from typing import LiteralString

from contract.store_events.columns import StoreEventColumns
from device_registration_api.events.presences import Presences
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from device_registration_api.store_events.types import StoredColumns, Types
from device_registration_api.store_events.users import LOCK_USERS, refuse
from servicekit.database.copy_encoding import INT4, JSONB, UUID

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
RETURNED: LiteralString = """
    event_number AS id, type, project_id AS store_id, person_id AS user_id, data, occurred_at AS created_at
"""


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
    assert isinstance(columns, StoredColumns)  # noqa: S101 - `complete` was called before
    return columns.type_ids


STORE_EVENTS = EventTable(
    "store_events",
    "store_event",
    model=StoreEventColumns,
    columns=(
        FactColumn("type_id", INT4, "type_ids"),
        FactColumn("person_id", UUID, "user_ids"),
        FactColumn("data", JSONB, "data"),
    ),
    rollups=(Rollup("store_event_day", COUNT_DAY), Rollup("store_event_all_day", COUNT_ALL_DAY)),
    count=count,
    returned=RETURNED,
    returned_from="JOIN event_type USING (project_id, type_id)",
    complete=Types().complete,
    refuse=refuse,
    refusing=(LOCK_USERS,),
    presences=Presences("store_event", "user_ids", segments=type_ids_of),
)
