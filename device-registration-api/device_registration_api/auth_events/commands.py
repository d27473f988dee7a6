"""Writes for auth events. Callers own the transaction."""

from collections.abc import Sequence

from contract.auth_events import Registration
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from pydantic import TypeAdapter
from servicekit.sql import execute

# One statement: the facts, and counters that grow by the rows really inserted, never by the rows sent. A row that
# is already there is our own retry. Everything is sorted, so that two writers take their locks in one order.
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
    ), per_minute AS (
        SELECT project_id, device_type, date_bin('1 minute', occurred_at, 'epoch') AS bucket_start, count(*) AS n
          FROM inserted
         GROUP BY 1, 2, 3
    ), totals AS (
        INSERT INTO auth_event_total AS t (project_id, device_type, slot, event_count)
        SELECT project_id, device_type, %(slot)s, sum(n)
          FROM per_minute
         GROUP BY 1, 2
         ORDER BY 1, 2
            ON CONFLICT (project_id, device_type, slot)
            DO UPDATE SET event_count = t.event_count + excluded.event_count
    ), quarter_hours AS (
        INSERT INTO auth_event_quarter_hour AS q (project_id, device_type, bucket_start, slot, event_count)
        SELECT project_id, device_type, date_bin('15 minutes', bucket_start, 'epoch'), %(slot)s, sum(n)
          FROM per_minute
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
            ON CONFLICT (project_id, device_type, bucket_start, slot)
            DO UPDATE SET event_count = q.event_count + excluded.event_count
    )
    INSERT INTO auth_event_minute AS m (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, bucket_start, %(slot)s, n
      FROM per_minute
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_type, bucket_start, slot)
        DO UPDATE SET event_count = m.event_count + excluded.event_count
"""

_REGISTRATIONS = TypeAdapter(list[Registration])


def record(conn: Connection, registrations: Sequence[Registration], slot: int) -> None:
    """Store the facts that are not there yet, and count them in `slot` of the rollups."""
    rows = _REGISTRATIONS.dump_json(list(registrations), exclude={"__all__": {"identity"}})
    execute(conn, RECORD, {"registrations": rows.decode(), "slot": slot})
