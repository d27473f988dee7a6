"""Reads of auth events: SELECT from the `stats` schema and nothing else."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString, NamedTuple

from contract.auth_events.events import DeviceType
from contract.time_series import Interval
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.time_series.users import Days, Users

TOTALS = """
    SELECT device_type::text, sum(event_count)::bigint
      FROM stats.auth_event_total
     WHERE project_id = %(project_id)s
     GROUP BY device_type
"""

# width_bucket returns the number of the edge at or before a bucket's start, counted from 1. The edges come from the
# zone's calendar, so this statement needs no time zone.
PER_QUARTER_HOUR = """
    SELECT device_type::text, width_bucket(bucket_start, %(edges)s::timestamptz[]), sum(event_count)::bigint
      FROM stats.auth_event_quarter_hour
     WHERE project_id = %(project_id)s
       AND device_type = ANY (%(device_types)s::device_type[])
       AND bucket_start >= %(start)s
       AND bucket_start < %(end)s
     GROUP BY 1, 2
"""

PER_MINUTE = """
    SELECT device_type::text, width_bucket(bucket_start, %(edges)s::timestamptz[]), sum(event_count)::bigint
      FROM stats.auth_event_minute
     WHERE project_id = %(project_id)s
       AND device_type = ANY (%(device_types)s::device_type[])
       AND bucket_start >= %(start)s
       AND bucket_start < %(end)s
     GROUP BY 1, 2
"""


# init.sql says why it is a function.
USERS = """
    SELECT distinct_count, new_count
      FROM stats.auth_event_users(
           %(project_id)s, %(device_type)s, %(first)s::date, %(last)s::date, %(start)s, %(end)s)
"""


class _Total(NamedTuple):
    device_type: str
    events: int


class _Bucket(NamedTuple):
    device_type: str
    number: int
    events: int


def totals(lease: Lease, project_id: int) -> dict[DeviceType, int]:
    """Return the number of events of each device type; it is 0 for a type without events."""
    with lease.transaction() as conn:
        rows = fetch_all(conn, TOTALS, {"project_id": project_id}, _Total)
    return dict.fromkeys(DeviceType, 0) | {DeviceType(row.device_type): row.events for row in rows}


def series(
    lease: Lease,
    project_id: int,
    device_types: Sequence[DeviceType],
    interval: Interval,
    edges: Sequence[datetime],
) -> dict[DeviceType, list[int]]:
    """Return for each device type the number of events between each edge and the next; it is 0 for a gap."""
    statement: LiteralString = PER_MINUTE if interval == "minute" else PER_QUARTER_HOUR
    parameters = {
        "project_id": project_id,
        "device_types": [str(each) for each in device_types],
        "edges": list(edges),
        "start": edges[0],
        "end": edges[-1],
    }
    with lease.transaction() as conn:
        rows = fetch_all(conn, statement, parameters, _Bucket)
    counts = {each: [0] * (len(edges) - 1) for each in device_types}
    for row in rows:
        counts[DeviceType(row.device_type)][row.number - 1] = row.events
    return counts


def users(lease: Lease, project_id: int, device_type: DeviceType | None, days: Days) -> Users:
    """Return the numbers of users on these days, of one device type or of all."""
    parameters = {
        "project_id": project_id,
        "device_type": device_type,
        "first": days.first,
        "last": days.last,
        "start": days.start,
        "end": days.end,
    }
    with lease.transaction() as conn:
        [found] = fetch_all(conn, USERS, parameters, Users)
    return found
