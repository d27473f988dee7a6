"""Looks a rule's figure up in the rollups; no event is read, so it costs the same at any load.

A figure is that of the complete minutes of a window, by the time when events happened. Two are different: measurements
are counted by quarters of an hour, and those that the window touches count; store events have no rollup by time of
day, so they count as they arrive, by what the sum of their days has grown since a sample of a window ago.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import LiteralString, NamedTuple
from uuid import UUID

from contract.api_requests.events import MICROSECONDS
from contract.api_requests.latency import CELLS, cell_middle
from contract.webhooks import MEASUREMENT_MINUTES, Condition, Figure, RuleDraft
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

AUTH_EVENTS = """
    SELECT coalesce(sum(event_count), 0)::float8
      FROM auth_event_minute
     WHERE project_id = %(project_id)s AND bucket_start >= %(starts)s AND bucket_start < %(ends)s
       AND device_type = ANY (CASE WHEN %(device_type)s::device_type IS NULL THEN enum_range(NULL::device_type)
                                   ELSE ARRAY[%(device_type)s::device_type] END)
"""
REQUESTS = """
    SELECT coalesce(sum(event_count), 0)::bigint, coalesce(sum(client_error_sum + server_error_sum), 0)::bigint,
           coalesce(min(response_us_min), 0), coalesce(max(response_us_max), 0)
      FROM api_request_minute
     WHERE project_id = %(project_id)s AND bucket_start >= %(starts)s AND bucket_start < %(ends)s
"""
# The cell that has the time at the rank, as `percentile_ms` of the public service finds it.
_CELLS: LiteralString = ", ".join([f"cell_{number}" for number in CELLS])
CELL = f"""
    WITH counted AS (
        SELECT latency_band * {len(CELLS)} + cells.number - 1 AS cell, sum(cells.requests) AS requests
          FROM api_request_minute, unnest(ARRAY[{_CELLS}]) WITH ORDINALITY AS cells(requests, number)
         WHERE project_id = %(project_id)s AND bucket_start >= %(starts)s AND bucket_start < %(ends)s
           AND cells.requests > 0
         GROUP BY 1)
    SELECT cell::int
      FROM (SELECT cell, sum(requests) OVER (ORDER BY cell) AS up_to FROM counted) AS ranked
     WHERE up_to >= %(rank)s
     ORDER BY cell
     LIMIT 1
"""  # noqa: S608 - of constants of this package
LATEST_MEASUREMENT = """
    SELECT count(latest.occurred_at)::float8
      FROM device
      LEFT JOIN device_latest AS latest
        ON latest.project_id = device.project_id AND latest.device_number = device.device_number
       AND latest.occurred_at >= %(starts)s
     WHERE device.project_id = %(project_id)s AND device.device_id = %(device_id)s
     GROUP BY device.device_number
"""
MEASUREMENTS = """
    SELECT sum(q.event_count)::float8,
           min(q.x_min), max(q.x_max), (sum(q.x_sum) / sum(q.event_count))::float8,
           min(q.y_min), max(q.y_max), (sum(q.y_sum) / sum(q.event_count))::float8,
           min(q.z_min), max(q.z_max), (sum(q.z_sum) / sum(q.event_count))::float8
      FROM device
      LEFT JOIN measurement_quarter_hour AS q
        ON q.project_id = device.project_id AND q.device_number = device.device_number
       AND q.bucket_start > %(starts)s - %(quarter_hour)s::interval AND q.bucket_start < %(ends)s
     WHERE device.project_id = %(project_id)s AND device.device_id = %(device_id)s
     GROUP BY device.device_number
"""
STORE_EVENTS = """
    SELECT coalesce(sum(event_count), 0)::bigint
      FROM store_event_all_day
     WHERE project_id = %(project_id)s
"""
STORE_EVENTS_OF_TYPE = """
    SELECT coalesce(sum(event_count), 0)::bigint
      FROM store_event_day
     WHERE project_id = %(project_id)s
       AND type_id = (SELECT type_id FROM event_type WHERE project_id = %(project_id)s AND type = %(event_type)s)
"""
ADD_SAMPLE = """
    INSERT INTO webhook_sample (project_id, rule_id, sampled_at, event_count)
    VALUES (%(project_id)s, %(rule_id)s::uuid, %(ends)s, %(total)s)
        ON CONFLICT (project_id, rule_id, sampled_at) DO NOTHING
"""
SAMPLE = """
    SELECT event_count
      FROM webhook_sample
     WHERE project_id = %(project_id)s AND rule_id = %(rule_id)s::uuid
       AND sampled_at <= %(starts)s AND sampled_at >= %(starts)s - %(late)s::interval
     ORDER BY sampled_at DESC
     LIMIT 1
"""
DELETE_SAMPLES = """
    DELETE FROM webhook_sample
     WHERE project_id = %(project_id)s AND rule_id = %(rule_id)s::uuid AND sampled_at < %(starts)s - %(late)s::interval
"""
# After a longer pause of this process, the count since the last sample is not that of a window.
SAMPLE_LATE_MAX = timedelta(minutes=2)
_QUARTER_HOUR = timedelta(minutes=MEASUREMENT_MINUTES)
_PERCENTS: Mapping[Figure, int] = {Figure.P50_MS: 50, Figure.P95_MS: 95, Figure.P99_MS: 99}
# In the order of the columns of MEASUREMENTS.
_VALUES = (
    Figure.MEASUREMENTS,
    *(Figure.X_MIN, Figure.X_MAX, Figure.X_MEAN),
    *(Figure.Y_MIN, Figure.Y_MAX, Figure.Y_MEAN),
    *(Figure.Z_MIN, Figure.Z_MAX, Figure.Z_MEAN),
)


class Window(NamedTuple):
    """The whole minutes that a rule looks at; the end is not included."""

    starts: datetime
    ends: datetime


class _Requests(NamedTuple):
    requests: int
    errors: int
    us_min: int
    us_max: int


def look_up(conn: Connection, project_id: int, rule_id: UUID, rule: RuleDraft, window: Window) -> float | None:
    """Return the figure of a rule in a window. None: there is no value, as the error rate of no requests has none."""
    named: dict[str, object] = {"project_id": project_id, "rule_id": str(rule_id), **window._asdict()}
    named |= {"device_type": rule.device_type, "event_type": rule.event_type, "device_id": rule.device_id}
    if rule.device_id is not None:
        is_silence = rule.condition is Condition.SILENT
        return _first(conn, LATEST_MEASUREMENT, named) if is_silence else _measured(conn, rule.figure, named)
    if rule.figure is Figure.AUTH_EVENTS:
        return _first(conn, AUTH_EVENTS, named)
    return _store_events(conn, rule, named) if rule.figure is Figure.STORE_EVENTS else _requests(conn, rule, named)


def _requests(conn: Connection, rule: RuleDraft, named: Mapping[str, object]) -> float | None:
    [found] = fetch_all(conn, REQUESTS, named, _Requests)
    if rule.figure is Figure.REQUESTS:
        return float(found.requests)
    if not found.requests:
        return None
    if rule.figure is Figure.ERROR_RATE:
        return 100 * found.errors / found.requests
    return _percentile_ms(conn, found, _PERCENTS[rule.figure], named)


def _percentile_ms(conn: Connection, found: _Requests, percent: int, named: Mapping[str, object]) -> float | None:
    rank = -(-percent * found.requests // 100)
    if rank == found.requests:
        return found.us_max / MICROSECONDS
    cells = fetch_all(conn, CELL, {**named, "rank": rank}, int)
    return min(max(cell_middle(cells[0]), found.us_min), found.us_max) / MICROSECONDS if cells else None


def _measured(conn: Connection, figure: Figure, named: Mapping[str, object]) -> float | None:
    for row in fetch_all(conn, MEASUREMENTS, {**named, "quarter_hour": _QUARTER_HOUR}, _columns):
        value = row[_VALUES.index(figure)]
        return 0.0 if value is None and figure is Figure.MEASUREMENTS else value
    return None


def _store_events(conn: Connection, rule: RuleDraft, named: Mapping[str, object]) -> float | None:
    statement = STORE_EVENTS if rule.event_type is None else STORE_EVENTS_OF_TYPE
    [total] = fetch_all(conn, statement, named, int)
    sampled = {**named, "total": total, "late": SAMPLE_LATE_MAX}
    execute(conn, ADD_SAMPLE, sampled)
    execute(conn, DELETE_SAMPLES, sampled)
    before = fetch_all(conn, SAMPLE, sampled, int)
    return float(total - before[0]) if before else None


def _first(conn: Connection, statement: LiteralString, named: Mapping[str, object]) -> float | None:
    to_float: Callable[[float], float] = float
    found = fetch_all(conn, statement, named, to_float)
    return found[0] if found else None


def _columns(*values: float | None) -> tuple[float | None, ...]:
    return values
