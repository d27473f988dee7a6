"""Reads of API requests: SELECT from the `stats` schema and nothing else. Each figure is a sum over stored cells."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any, LiteralString, NamedTuple

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.api_requests.covers import Part, Period, aligned, cover, with_end_apart
from statistics_api.api_requests.figures import NOTHING, Band, Figures, Point
from statistics_api.api_requests.folds import (
    OF_ENDPOINTS,
    OF_PROJECT,
    SUMS,
    SUMS_OF_CELLS,
    Grouping,
    read_folds,
    state_of,
    state_parameters,
)
from statistics_api.api_requests.kept import Kept, Known
from statistics_api.api_requests.sums import figures_of
from statistics_api.cursors import StoredRow

_WHOLE = 0
_PROJECT = Grouping(OF_PROJECT, "0", by_days=True)
_ENDPOINTS = Grouping(OF_ENDPOINTS, "endpoint_id", by_days=False)
# The groups of a series: a bucket as it is stored, or the number of the edge at or before it, counted from 1.
_BUCKET: LiteralString = "bucket_start"
_EDGE: LiteralString = "width_bucket(bucket_start, %(edges)s::timestamptz[])"


# A request is received from 5 minutes before to 30 days after it happened: only the weeks of that time are opened.
_RAW: LiteralString = """
         WHERE project_id = %(project_id)s
           AND occurred_at >= %(start)s AND occurred_at < %(end)s
           AND received_at >= %(start)s - interval '6 minutes' AND received_at < %(end)s + interval '31 days'
"""
# Of all days that the range touches; see the comment on api_request_presence in init.sql.
_BESIDE: LiteralString = """
        SELECT (SELECT coalesce(sum(present_count), 0)::bigint FROM stats.api_request_distinct
                 WHERE project_id = %(project_id)s AND segment = 0
                   AND day >= %(first_day)s AND day <= %(last_day)s AND previous_day < %(first_day)s) AS consumers,
               (SELECT coalesce(sum(dropped_count), 0)::bigint FROM stats.dropped_event
                 WHERE project_id = %(project_id)s AND kind = 'api_requests'
                   AND bucket_start >= %(first_quarter)s AND bucket_start < %(last_quarter)s) AS dropped
"""
_EXACT: LiteralString = f"""
        SELECT percentile_disc(%(shares)s::float8[]) WITHIN GROUP (ORDER BY response_us) AS percentiles,
               count(*) AS kept
          FROM stats.api_request {_RAW}
"""  # noqa: S608 - of constants of this file
_ROWS: LiteralString = f"""
        SELECT event_id::text, url_path, method, status_code, (response_us / 1000.0)::float8, user_agent, ip_hash,
               consumer, occurred_at
          FROM stats.api_request {_RAW}
           AND (%(before)s::timestamptz IS NULL OR occurred_at <= %(before)s
                AND (occurred_at, event_id) < (%(before)s, %(before_id)s::uuid))
         ORDER BY occurred_at DESC, event_id DESC
         LIMIT %(limit)s
        OFFSET %(offset)s
"""  # noqa: S608 - of constants of this file
_NAMES: LiteralString = """
        SELECT endpoint_id, method, url_path
          FROM stats.api_endpoint
         WHERE project_id = %(project_id)s
"""
PERCENTS = (50, 75, 95, 99)
# The bands that have the times at the ranks of a point's percentiles.
_HOLDS_A_RANK: LiteralString = " OR ".join(
    [
        f"({percent} * group_requests + 99) / 100 BETWEEN requests_before + 1 AND requests_before + requests"
        for percent in ("50", "95", "99")
    ]
)
# Endpoint 0 stands for all that have no number of their own.
_UNNAMED: tuple[str | None, str | None] = (None, None)


class Whole(NamedTuple):
    """All requests of a range: figures, consumers on its days, and what clients dropped in its quarters of an hour.

    With `exact`, the times at the ranks of PERCENTS, in microseconds, of the rows that are kept, and their number.
    """

    figures: Figures
    consumers: int
    dropped: int
    exact: list[int] | None = None
    kept: int = 0


class EndpointRow(NamedTuple):
    """An endpoint and its figures; without method and path, it stands for all that have no number of their own."""

    method: str | None
    url_path: str | None
    figures: Figures


def figures(lease: Lease, kept: Kept, project_id: int, parts: Sequence[Part]) -> Figures:
    """Return the figures of all requests of a range."""
    reading = read_folds(lease, kept, _PROJECT, project_id, parts)
    return figures_of(reading.folds).get(_WHOLE, NOTHING)


def whole(
    lease: Lease, kept: Kept, project_id: int, parts: Sequence[Part], days: tuple[date, date], *, exact: bool
) -> Whole:
    """Return all that is known of a range; `days` are its first and its last one."""
    start, end = parts[0].start, parts[-1].end
    first_quarter, last_quarter = aligned(start, end, Period.QUARTER_HOUR)
    parameters = {
        "first_day": days[0],
        "last_day": days[1],
        "first_quarter": first_quarter,
        "last_quarter": last_quarter,
        "start": start,
        "end": end,
        # A little less, because the database multiplies floats: 0.95 times a number must not exceed the whole rank.
        "shares": [percent / 100 - 1e-9 for percent in PERCENTS],
    }
    # In one statement, so that rows and cells are those of one moment.
    columns: LiteralString = "exact.*" if exact else "NULL AS percentiles, 0 AS kept"
    source: LiteralString = f", ({_EXACT}) AS exact" if exact else ""
    statement: LiteralString = f"SELECT beside.*, {columns} FROM ({_BESIDE}) AS beside{source}"  # noqa: S608
    reading = read_folds(lease, kept, _PROJECT, project_id, parts, statement, parameters)
    return Whole(figures_of(reading.folds).get(_WHOLE, NOTHING), *reading.beside)


def rows(
    lease: Lease,
    project_id: int,
    ends: tuple[datetime, datetime],
    before: tuple[datetime, str] | None,
    *,
    limit: int,
    offset: int,
) -> list[StoredRow]:
    """Return requests of [start, end), the newest first; those after `before`, a time and an id, if it is given."""
    parameters = {
        "project_id": project_id,
        "start": ends[0],
        "end": ends[1],
        "before": None if before is None else before[0],
        "before_id": None if before is None else before[1],
        "limit": limit,
        "offset": offset,
    }
    with lease.transaction() as conn:
        return fetch_all(conn, _ROWS, parameters, StoredRow.of)


def series(lease: Lease, kept: Kept, project_id: int, part: Part, edges: Sequence[datetime]) -> dict[int, Point]:
    """Return the figures between each edge and the next, by the number of the edge from 0; a gap has none.

    Minutes and days are stored as they are asked for; hours and a zone's own days are made of quarters of an hour.
    """
    # The state is that of the longest buckets: a day of minutes is one of them.
    longest = cover(part.start, part.end, part.period)
    key, known = (project_id, tuple(edges)), kept.get((project_id, tuple(edges)))
    parameters = {**state_parameters(project_id, longest), "start": part.start, "end": part.end, "edges": list(edges)}
    state: LiteralString = state_of(longest)
    with lease.transaction() as conn:
        if known is not None and fetch_all(conn, state, parameters, str) == [known.state]:
            kept_points: dict[int, Point] = known.value
            return kept_points
        are_stored = part.period is not Period.QUARTER_HOUR
        bands = _bands_of_ranks(OF_PROJECT[part.period], _BUCKET if are_stored else _EDGE)
        statement: LiteralString = f"""
        SELECT counted.state, bands.*
          FROM ({state}) AS counted
          LEFT JOIN ({bands}) AS bands ON true
        """  # noqa: S608 - of constants of this file
        found = fetch_all(conn, statement, parameters, _columns)
    # Without requests there is one row, of no group.
    by_group = _points(row[1:] for row in found if row[1] is not None)
    if are_stored:
        # In UTC, because Python takes a local time that occurs twice as unequal to any time of another zone.
        starts = (edge.astimezone(UTC) for edge in edges)
        points = {number: by_group[start] for number, start in enumerate(starts) if start in by_group}
    else:
        points = {number - 1: point for number, point in by_group.items()}
    kept.put(key, Known(found[0][0], points, len(points)))
    return points


def endpoints(lease: Lease, kept: Kept, project_id: int, parts: Sequence[Part]) -> list[EndpointRow]:
    """Return the figures of each endpoint that has requests in a range, in no order."""
    reading = read_folds(lease, kept, _ENDPOINTS, project_id, with_end_apart(parts))
    # What parts add up to is kept, too: that of many endpoints takes longer than to read their names and states.
    key = ("figures", project_id, *parts)
    known = kept.get(key)
    found: dict[int, Figures]
    if known is not None and known.state == reading.state:
        found = known.value
    else:
        found = figures_of(reading.folds)
        kept.put(key, Known(reading.state, found, sum(len(each.bands) for each in found.values())))
    with lease.transaction() as conn:
        names = dict(fetch_all(conn, _NAMES, {"project_id": project_id}, _named))
    return [EndpointRow(*names.get(number, _UNNAMED), each) for number, each in found.items()]


def endpoint_counts(
    lease: Lease, kept: Kept, project_id: int, part: Part, edges: Sequence[datetime]
) -> list[tuple[str | None, str | None, list[int]]]:
    """Return method and path of each endpoint that has requests, and their number between each edge and the next."""
    key = ("counts", project_id, tuple(edges))
    known = kept.get(key)
    parameters = {**state_parameters(project_id, [part]), "start": part.start, "end": part.end, "edges": list(edges)}
    state: LiteralString = state_of([part])
    with lease.transaction() as conn:
        if known is not None and fetch_all(conn, state, parameters, str) == [known.state]:
            kept_counts: list[tuple[str | None, str | None, list[int]]] = known.value
            return kept_counts
        statement: LiteralString = f"""
        SELECT counted.state, grouped.*
          FROM ({state}) AS counted
          LEFT JOIN (
            SELECT endpoint_id, {_EDGE} - 1 AS number, stats.total(event_count)::bigint AS requests
              FROM {OF_ENDPOINTS[part.period]}
             WHERE project_id = %(project_id)s AND bucket_start >= %(start)s AND bucket_start < %(end)s
             GROUP BY endpoint_id, number) AS grouped ON true
        """  # noqa: S608 - of constants of this file
        found = fetch_all(conn, statement, parameters, _columns)
        names = dict(fetch_all(conn, _NAMES, {"project_id": project_id}, _named))
    counts: dict[int, list[int]] = {}
    for _, endpoint, number, requests in found:
        if endpoint is not None:  # without requests there is one row, of no endpoint
            counts.setdefault(endpoint, [0] * (len(edges) - 1))[number] = requests
    made = [(*names.get(endpoint, _UNNAMED), each) for endpoint, each in counts.items()]
    # A band weighs as much as some fifty numbers.
    kept.put(key, Known(found[0][0], made, len(made) * len(edges) // 50))
    return made


def _bands_of_ranks(view: LiteralString, group: LiteralString) -> LiteralString:
    """Return a statement with the sums of each group, and each band of it that holds the rank of a percentile of POINT.

    Bands are summed without their cells first, because most hold no rank, and cells are most of what a row has.
    """
    stored: LiteralString = f"""
        SELECT {group} AS grouped_by, *
          FROM {view}
         WHERE project_id = %(project_id)s AND bucket_start >= %(start)s AND bucket_start < %(end)s
    """  # noqa: S608 - of constants of this file
    statement: LiteralString = f"""
        WITH band AS (
            SELECT grouped_by, latency_band, {SUMS}
              FROM ({stored}) AS stored
             GROUP BY grouped_by, latency_band),
        ranked AS (
            SELECT grouped_by, stats.total(requests) OVER grouped AS group_requests,
                   stats.total(client_errors) OVER grouped AS client_errors,
                   stats.total(server_errors) OVER grouped AS server_errors, sum(us_sum) OVER grouped AS us_sum,
                   min(us_min) OVER grouped AS us_min, max(us_max) OVER grouped AS us_max,
                   latency_band, stats.total(requests) OVER faster - requests AS requests_before, requests
              FROM band
            WINDOW grouped AS (PARTITION BY grouped_by),
                   faster AS (PARTITION BY grouped_by ORDER BY latency_band)),
        wanted AS MATERIALIZED (
            SELECT * FROM ranked WHERE {_HOLDS_A_RANK})
        SELECT *
          FROM wanted
          JOIN (SELECT grouped_by, latency_band, {SUMS_OF_CELLS}
                  FROM ({stored}) AS stored
                  JOIN (SELECT grouped_by, latency_band FROM wanted) AS bands USING (grouped_by, latency_band)
                 GROUP BY grouped_by, latency_band) AS cells USING (grouped_by, latency_band)
         ORDER BY grouped_by, latency_band
    """  # noqa: S608 - of constants of this file
    return statement


def _points(rows: Iterable[tuple[Any, ...]]) -> dict[Any, Point]:
    """Return the point of each group from the rows of `_bands_of_ranks`."""
    groups: dict[Any, Figures] = {}
    bands: list[Band] = []
    for row in rows:
        group, number, requests, client_errors, server_errors, us_sum, us_min, us_max, before, count, *cells = row
        if group not in groups:
            bands = []
            groups[group] = Figures(requests, client_errors, server_errors, int(us_sum), us_min, us_max, bands)
        bands.append(Band(number, before, count, cells))
    return {group: found.point() for group, found in groups.items()}


def _columns(*columns: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as the statement lists them
    return columns


def _named(number: int, method: str, url_path: str) -> tuple[int, tuple[str | None, str | None]]:
    return number, (method, url_path)
