"""Reads of API requests: SELECT from the `stats` schema and nothing else. Each figure is a sum over stored cells."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, LiteralString, NamedTuple

from contract.api_requests.latency import CELLS, CELLS_OF_BAND
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.api_requests.covers import Part, Period, aligned
from statistics_api.api_requests.figures import NOTHING, Band, Figures

_OF_PROJECT: Mapping[Period, LiteralString] = {
    Period.MINUTE: "stats.api_request_minute",
    Period.QUARTER_HOUR: "stats.api_request_quarter_hour",
    Period.DAY: "stats.api_request_day",
}
# The columns of a row of `_bands`.
_COLUMNS = 10 + CELLS_OF_BAND
_OF_ENDPOINTS: Mapping[Period, LiteralString] = {
    Period.QUARTER_HOUR: "stats.api_request_endpoint_quarter_hour",
    Period.DAY: "stats.api_request_endpoint_day",
}
_CELLS: Sequence[LiteralString] = [f"cell_{number}" for number in CELLS]
# The names of the parameters of each part; a range has at most five.
_PLACES: tuple[LiteralString, ...] = ("0", "1", "2", "3", "4")
_WHOLE: LiteralString = "0"
# The number of the edge at or before a bucket's start, counted from 1.
_EDGE: LiteralString = "width_bucket(bucket_start, %(edges)s::timestamptz[])"
_BUCKET: LiteralString = "bucket_start"
_ENDPOINT: LiteralString = "endpoint_id"


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
               consumer, to_json(occurred_at) #>> '{{}}', occurred_at
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
_OF_POINT: LiteralString = " OR ".join(
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


class RawRow(NamedTuple):
    """One request, as `contract.api_requests.metrics.StoredRequest` names its fields; and when it happened."""

    values: tuple[object, ...]
    occurred_at: datetime

    @property
    def event_id(self) -> str:
        """The id of the request."""
        return str(self.values[0])


class EndpointRow(NamedTuple):
    """An endpoint and its figures; without method and path, it stands for all that have no number of their own."""

    method: str | None
    url_path: str | None
    figures: Figures


def figures(lease: Lease, project_id: int, parts: Sequence[Part]) -> Figures:
    """Return the figures of all requests of a range."""
    with lease.transaction() as conn:
        found = _by_group(conn, _bands(_OF_PROJECT, _WHOLE, parts), _parameters(project_id, parts))
    return found.get(int(_WHOLE), NOTHING)


def whole(lease: Lease, project_id: int, parts: Sequence[Part], days: tuple[date, date], *, exact: bool) -> Whole:
    """Return all that is known of a range; `days` are its first and its last one."""
    start, end = parts[0].start, parts[-1].end
    first_quarter, last_quarter = aligned(start, end, Period.QUARTER_HOUR)
    parameters = {
        **_parameters(project_id, parts),
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
    statement: LiteralString = f"""
        SELECT grouped.*, beside.*, {columns}
          FROM ({_BESIDE}) AS beside{source}
          LEFT JOIN ({_bands(_OF_PROJECT, _WHOLE, parts)}) AS grouped ON true
    """  # noqa: S608 - of constants of this file
    with lease.transaction() as conn:
        found = fetch_all(conn, statement, parameters, _columns)
    *_, consumers, dropped, percentiles, kept = found[0]
    # Without requests there is one row, of no group.
    grouped = _figures(row[:_COLUMNS] for row in found if row[0] is not None)
    return Whole(grouped.get(int(_WHOLE), NOTHING), consumers, dropped, percentiles, kept)


def rows(
    lease: Lease,
    project_id: int,
    ends: tuple[datetime, datetime],
    before: tuple[datetime, str] | None,
    *,
    limit: int,
    offset: int,
) -> list[RawRow]:
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
        return fetch_all(conn, _ROWS, parameters, lambda *values: RawRow(values[:-1], values[-1]))


def series(lease: Lease, project_id: int, part: Part, edges: Sequence[datetime]) -> dict[int, Figures]:
    """Return the figures between each edge and the next, by the number of the edge from 0; a gap has none.

    Minutes and days are stored as they are asked for; hours and a zone's own days are made of quarters of an hour.
    """
    parameters = {**_parameters(project_id, [part]), "edges": list(edges)}
    with lease.transaction() as conn:
        if part.period is Period.QUARTER_HOUR:
            by_edge = _by_group(conn, _bands(_OF_PROJECT, _EDGE, [part], _OF_POINT), parameters)
            return {number - 1: each for number, each in by_edge.items()}
        stored = _by_group(conn, _bands(_OF_PROJECT, _BUCKET, [part], _OF_POINT), parameters)
    # In UTC, because Python takes a local time that occurs twice as unequal to any time of another zone.
    starts = (edge.astimezone(UTC) for edge in edges)
    return {number: stored[start] for number, start in enumerate(starts) if start in stored}


def endpoints(lease: Lease, project_id: int, parts: Sequence[Part]) -> list[EndpointRow]:
    """Return the figures of each endpoint that has requests in a range, in no order."""
    with lease.transaction() as conn:
        found = _by_group(conn, _bands(_OF_ENDPOINTS, _ENDPOINT, parts), _parameters(project_id, parts))
        names = dict(fetch_all(conn, _NAMES, {"project_id": project_id}, _named))
    return [EndpointRow(*names.get(number, _UNNAMED), each) for number, each in found.items()]


def _bands(
    views: Mapping[Period, LiteralString],
    group: LiteralString,
    parts: Sequence[Part],
    only: LiteralString = "true",
) -> LiteralString:
    """Return a statement with a row for each band of each group, or only for some: the group and its sums, the band.

    The rows of a group are in the order of their bands.
    """
    stored: LiteralString = " UNION ALL ".join(
        [
            f"""
        SELECT {group} AS grouped_by, latency_band, event_count, client_error_sum, server_error_sum,
               response_us_sum, response_us_min, response_us_max, {", ".join(_CELLS)}
          FROM {views[part.period]}
         WHERE project_id = %(project_id)s
           AND bucket_start >= %(start_{place})s
           AND bucket_start < %(end_{place})s
            """  # noqa: S608 - of constants of this file
            for place, part in zip(_PLACES, parts, strict=False)
        ]
    )
    band: LiteralString = f"""
        SELECT grouped_by, latency_band, stats.total(event_count) AS requests,
               stats.total(client_error_sum) AS client_errors, stats.total(server_error_sum) AS server_errors,
               sum(response_us_sum) AS us_sum, min(response_us_min) AS us_min, max(response_us_max) AS us_max,
               {", ".join([f"stats.total({cell}) AS {cell}" for cell in _CELLS])}
          FROM ({stored}) AS stored
         GROUP BY grouped_by, latency_band
    """  # noqa: S608 - of constants of this file
    statement: LiteralString = f"""
        SELECT *
          FROM (SELECT grouped_by, stats.total(requests) OVER grouped AS group_requests,
                       stats.total(client_errors) OVER grouped, stats.total(server_errors) OVER grouped,
                       sum(us_sum) OVER grouped, min(us_min) OVER grouped, max(us_max) OVER grouped,
                       latency_band, stats.total(requests) OVER faster - requests AS requests_before, requests,
                       {", ".join(_CELLS)}
                  FROM ({band}) AS band
                WINDOW grouped AS (PARTITION BY grouped_by),
                       faster AS (PARTITION BY grouped_by ORDER BY latency_band)) AS grouped
         WHERE {only}
         ORDER BY grouped_by, latency_band
    """  # noqa: S608 - of constants of this file
    return statement


def _by_group(conn: Connection, statement: LiteralString, parameters: Mapping[str, object]) -> dict[Any, Figures]:
    """Return the figures of each group that has requests."""
    return _figures(fetch_all(conn, statement, parameters, _columns))


def _figures(rows: Iterable[tuple[Any, ...]]) -> dict[Any, Figures]:
    """Put the rows of `_bands` together."""
    groups: dict[Any, Figures] = {}
    bands: list[Band] = []
    for row in rows:
        group, requests, client_errors, server_errors, us_sum, us_min, us_max, number, before, count, *cells = row
        if group not in groups:
            bands = []
            groups[group] = Figures(requests, client_errors, server_errors, int(us_sum), us_min, us_max, bands)
        bands.append(Band(number, before, count, cells))
    return groups


def _parameters(project_id: int, parts: Sequence[Part]) -> dict[str, object]:
    ends = {
        name: instant
        for place, part in zip(_PLACES, parts, strict=False)
        for name, instant in ((f"start_{place}", part.start), (f"end_{place}", part.end))
    }
    return {"project_id": project_id, **ends}


def _columns(*columns: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as the statement lists them
    return columns


def _named(number: int, method: str, url_path: str) -> tuple[int, tuple[str | None, str | None]]:
    return number, (method, url_path)
