"""Writes for auth events. Callers own the transaction."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import NamedTuple

from pydantic import TypeAdapter
from pydantic_core import to_json

from contract.registrations import ForwardedBatch, Registration
from device_registration_api.auth_events.copy_format import copied
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# A row that is already there is our own retry: it is not returned, and so it is not counted again. Sorted, so that
# two writers take their locks in one order.
RECORD = """
    WITH inserted AS (
        INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
        SELECT project_id, received_at, event_id, COALESCE(occurred_at, received_at), device_type, user_key
          FROM json_to_recordset(%(registrations)s::json)
            AS sent(project_id int, received_at timestamptz, event_id uuid, occurred_at timestamptz,
                    device_type device_type, user_key text)
         ORDER BY project_id, received_at, event_id
            ON CONFLICT (project_id, received_at, event_id) DO NOTHING
        RETURNING project_id, device_type, occurred_at
    )
    SELECT project_id, device_type::text, date_bin('1 minute', occurred_at, 'epoch'), count(*)
      FROM inserted
     GROUP BY 1, 2, 3
"""

COPY = """
    COPY auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    FROM STDIN (FORMAT binary)
"""
# A batch in one piece as a rule: after each, the interpreter is waited for, which the event loop keeps busy.
_COPY_BYTES_AT_ONCE = 1 << 20

COUNT = """
    WITH per_minute AS (
        SELECT project_id, device_type, bucket_start, events
          FROM json_to_recordset(%(per_minute)s::json)
            AS counted(project_id int, device_type device_type, bucket_start timestamptz, events bigint)
    ), totals AS (
        INSERT INTO auth_event_total AS t (project_id, device_type, slot, event_count)
        SELECT project_id, device_type, %(slot)s, sum(events)
          FROM per_minute
         GROUP BY 1, 2
         ORDER BY 1, 2
            ON CONFLICT (project_id, device_type, slot)
            DO UPDATE SET event_count = t.event_count + excluded.event_count
    ), quarter_hours AS (
        INSERT INTO auth_event_quarter_hour AS q (project_id, device_type, bucket_start, slot, event_count)
        SELECT project_id, device_type, date_bin('15 minutes', bucket_start, 'epoch'), %(slot)s, sum(events)
          FROM per_minute
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
            ON CONFLICT (project_id, device_type, bucket_start, slot)
            DO UPDATE SET event_count = q.event_count + excluded.event_count
    )
    INSERT INTO auth_event_minute AS m (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, bucket_start, %(slot)s, events
      FROM per_minute
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_type, bucket_start, slot)
        DO UPDATE SET event_count = m.event_count + excluded.event_count
"""

_REGISTRATIONS = TypeAdapter(list[Registration])


class PerMinute(NamedTuple):
    """How many rows were really inserted for one minute."""

    project_id: int
    device_type: str
    bucket_start: datetime
    events: int


def record(conn: Connection, registrations: Sequence[Registration]) -> list[PerMinute]:
    """Store the facts that are not there yet; exact when repeated."""
    rows = _REGISTRATIONS.dump_json(list(registrations), exclude={"__all__": {"identity"}}, exclude_none=True)
    return fetch_all(conn, RECORD, {"registrations": rows.decode()}, PerMinute)


def copy(conn: Connection, batch: ForwardedBatch, without: Collection[int]) -> list[PerMinute]:
    """Store the rows of a batch, none of which may be there yet, but for some; much faster than `record`.

    Raises:
        psycopg2.DataError, psycopg2.IntegrityError: one is there, or breaks a rule; nothing was stored.
    """
    with conn.cursor() as cursor:
        cursor.copy_expert(COPY, BytesIO(copied(batch, without)), size=_COPY_BYTES_AT_ONCE)
    return _counted(batch, without)


def _counted(batch: ForwardedBatch, without: Collection[int]) -> list[PerMinute]:
    """All rows as if received now, less those that were not, which are few: one pass that no Python code is run for."""
    now = _minute(batch.received_at)
    counted = Counter({(device_type, now): events for device_type, events in Counter(batch.device_types).items()})
    for row, at in batch.occurred_at.items():
        counted[batch.device_types[row], now] -= 1
        counted[batch.device_types[row], _minute(at)] += 1
    for row in without:
        counted[batch.device_types[row], _minute(batch.occurred_at.get(row, batch.received_at))] -= 1
    return [PerMinute(batch.project_id, *group, events) for group, events in counted.items() if events]


def count(conn: Connection, per_minute: Sequence[PerMinute], slot: int) -> None:
    """Let the counters grow by rows really inserted, never by rows sent."""
    if per_minute:
        rows = to_json([each._asdict() for each in per_minute]).decode()
        execute(conn, COUNT, {"per_minute": rows, "slot": slot})


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
