"""Writes for auth events: their columns, and the three counters that grow with them. Callers own the transaction."""

from collections.abc import Sequence

from contract.auth_events.columns import AuthEventColumns
from contract.time_series import MINUTES_KEPT
from device_registration_api.events.counting import per_minute
from device_registration_api.events.following import Follower
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Counted, EventTable, FactColumn, Rollup
from servicekit.database.copy_encoding import TEXT, enumeration

COUNT_TOTAL = """
    INSERT INTO auth_event_total AS t (project_id, device_type, slot, event_count)
    SELECT project_id, device_type, {slot}, sum(events)
      FROM json_to_recordset({counted}::json)
        AS counted(project_id int, device_type device_type, events bigint)
     GROUP BY 1, 2
     ORDER BY 1, 2
        ON CONFLICT (project_id, device_type, slot)
        DO UPDATE SET event_count = t.event_count + excluded.event_count
"""

COUNT_QUARTER_HOUR = """
    INSERT INTO auth_event_quarter_hour AS q (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, date_bin('15 minutes', bucket_start, 'epoch'), {slot}, sum(events)
      FROM json_to_recordset({counted}::json)
        AS counted(project_id int, device_type device_type, bucket_start timestamptz, events bigint)
     GROUP BY 1, 2, 3
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_type, bucket_start, slot)
        DO UPDATE SET event_count = q.event_count + excluded.event_count
"""

COUNT_MINUTE = """
    INSERT INTO auth_event_minute AS m (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, bucket_start, {slot}, events
      FROM json_to_recordset({counted}::json)
        AS counted(project_id int, device_type device_type, bucket_start timestamptz, events bigint)
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_type, bucket_start, slot)
        DO UPDATE SET event_count = m.event_count + excluded.event_count
"""


def count(rows: Rows[AuthEventColumns]) -> Sequence[Counted]:
    """Return the same groups (project, device type, minute) for every rollup."""
    groups = [
        {
            "project_id": each.project_id,
            "device_type": each.group,
            "bucket_start": each.bucket_start,
            "events": each.events,
        }
        for each in per_minute(rows, rows.columns.device_types)
    ]
    return [groups] * len(ROLLUPS)


ROLLUPS = (
    Rollup("auth_event_total", COUNT_TOTAL),
    Rollup("auth_event_quarter_hour", COUNT_QUARTER_HOUR),
    Rollup("auth_event_minute", COUNT_MINUTE, kept=MINUTES_KEPT),
)

# Users are counted by day after the events, because it would be half as much again for the transaction of an event.
FOLLOWER = Follower("auth_event", who="user_key", segment="auth_event_segment(f.device_type)")

AUTH_EVENTS = EventTable(
    "auth_events",
    "auth_event",
    model=AuthEventColumns,
    columns=(
        FactColumn("device_type", enumeration("device_type"), "device_types"),
        FactColumn("user_key", TEXT, "user_keys"),
    ),
    rollups=ROLLUPS,
    count=count,
    exported={
        "eventId": "event_id",
        "userKey": "user_key",
        "deviceType": "device_type",
        "occurredAt": "occurred_at",
        "receivedAt": "received_at",
    },
)
