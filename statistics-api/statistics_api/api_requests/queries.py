"""Reads of API requests: SELECT from the `stats` schema and nothing else. Each figure is a sum over stored cells."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple, TypeVar

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.api_requests.covers import Part, Period, aligned
from statistics_api.api_requests.figures import NO_REQUESTS, CellSums, Figures

Group = TypeVar("Group")

_OF_PROJECT: Mapping[Period, LiteralString] = {
    Period.MINUTE: "stats.api_request_minute",
    Period.QUARTER_HOUR: "stats.api_request_quarter_hour",
    Period.DAY: "stats.api_request_day",
}
_OF_ENDPOINTS: Mapping[Period, LiteralString] = {
    Period.QUARTER_HOUR: "stats.api_request_endpoint_quarter_hour",
    Period.DAY: "stats.api_request_endpoint_day",
}
# The names of the parameters of each part; a range has at most five.
_PLACES: tuple[LiteralString, ...] = ("0", "1", "2", "3", "4")
_WHOLE: LiteralString = "0"
# The number of the edge at or before a bucket's start, counted from 1.
_BUCKET: LiteralString = "width_bucket(bucket_start, %(edges)s::timestamptz[])"
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
PERCENTS = (50, 75, 95, 99)


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
    statement = _by_group(_OF_PROJECT, _WHOLE, parts)
    with lease.transaction() as conn:
        rows = fetch_all(conn, statement, _parameters(project_id, parts), _grouped)
    return rows[0][1] if rows else Figures.of(NO_REQUESTS)


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
    columns, source = (", exact.*", f", ({_EXACT}) AS exact") if exact else ("", "")
    statement: LiteralString = f"""
        SELECT beside.*{columns}, cells.*
          FROM ({_BESIDE}) AS beside{source}
          LEFT JOIN ({_by_group(_OF_PROJECT, _WHOLE, parts)}) AS cells ON true
    """  # noqa: S608 - of constants of this file
    with lease.transaction() as conn:
        return fetch_all(conn, statement, parameters, _exactly if exact else _whole)[0]


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
            found = fetch_all(conn, _by_group(_OF_PROJECT, _BUCKET, [part]), parameters, _grouped)
            return {number - 1: each for number, each in found}
        stored = dict(fetch_all(conn, _by_stored_bucket(_OF_PROJECT[part.period]), parameters, _grouped))
    # In UTC, because Python takes a local time that occurs twice as unequal to any time of another zone.
    starts = (edge.astimezone(UTC) for edge in edges)
    return {number: stored[start] for number, start in enumerate(starts) if start in stored}


def endpoints(lease: Lease, project_id: int, parts: Sequence[Part]) -> list[EndpointRow]:
    """Return the figures of each endpoint that has requests in a range, in no order."""
    grouped = _by_group(_OF_ENDPOINTS, _ENDPOINT, parts)
    statement: LiteralString = f"""
        SELECT method, url_path, endpoint.*
          FROM ({grouped}) AS endpoint
          LEFT JOIN stats.api_endpoint AS e ON e.project_id = %(project_id)s AND e.endpoint_id = endpoint.grouped_by
    """  # noqa: S608 - of constants of this file
    with lease.transaction() as conn:
        return fetch_all(conn, statement, _parameters(project_id, parts), _endpoint)


def _by_group(views: Mapping[Period, LiteralString], group: LiteralString, parts: Sequence[Part]) -> LiteralString:
    """Return a statement with one row a group. The cells are put together twice, so that few of them are sent."""
    selects: list[LiteralString] = [
        f"""
        SELECT {group} AS grouped_by, latency_cell, event_count, client_error_sum, server_error_sum,
               response_us_sum, response_us_min, response_us_max
          FROM {views[part.period]}
         WHERE project_id = %(project_id)s
           AND bucket_start >= %(start_{place})s
           AND bucket_start < %(end_{place})s
        """  # noqa: S608 - of constants of this file
        for place, part in zip(_PLACES, parts, strict=False)
    ]
    stored: LiteralString = " UNION ALL ".join(selects)
    statement: LiteralString = f"""
        SELECT grouped_by, array_agg(latency_cell), array_agg(requests),
               sum(client_errors)::bigint, sum(server_errors)::bigint, sum(us_sum), min(us_min), max(us_max)
          FROM (SELECT grouped_by, latency_cell, sum(event_count)::bigint AS requests,
                       sum(client_error_sum) AS client_errors, sum(server_error_sum) AS server_errors,
                       sum(response_us_sum) AS us_sum, min(response_us_min) AS us_min, max(response_us_max) AS us_max
                  FROM ({stored}) AS stored
                 GROUP BY grouped_by, latency_cell) AS cell
         GROUP BY grouped_by
    """  # noqa: S608 - of constants of this file
    return statement


def _by_stored_bucket(view: LiteralString) -> LiteralString:
    """Return a statement with one row a bucket: nothing has to be put together, which takes a third of the time."""
    statement: LiteralString = f"""
        SELECT bucket_start, array_agg(latency_cell), array_agg(event_count),
               sum(client_error_sum)::bigint, sum(server_error_sum)::bigint,
               sum(response_us_sum), min(response_us_min), max(response_us_max)
          FROM {view}
         WHERE project_id = %(project_id)s
           AND bucket_start >= %(start_0)s
           AND bucket_start < %(end_0)s
         GROUP BY bucket_start
    """  # noqa: S608 - of constants of this file
    return statement


def _parameters(project_id: int, parts: Sequence[Part]) -> dict[str, object]:
    ends = {
        name: instant
        for place, part in zip(_PLACES, parts, strict=False)
        for name, instant in ((f"start_{place}", part.start), (f"end_{place}", part.end))
    }
    return {"project_id": project_id, **ends}


def _grouped(group: Group, cells: list[int], requests: list[int], *sums: int | Decimal) -> tuple[Group, Figures]:
    return group, Figures.of(CellSums(cells, requests, *map(int, sums)))


def _whole(consumers: int, dropped: int, *grouped: Any) -> Whole:  # noqa: ANN401 - as _grouped
    found = Figures.of(NO_REQUESTS) if grouped[0] is None else _grouped(*grouped)[1]
    return Whole(found, consumers, dropped)


def _exactly(consumers: int, dropped: int, exact: list[int] | None, kept: int, *grouped: Any) -> Whole:  # noqa: ANN401 - as _grouped
    return _whole(consumers, dropped, *grouped)._replace(exact=exact, kept=kept)


def _endpoint(method: str | None, url_path: str | None, *grouped: Any) -> EndpointRow:  # noqa: ANN401 - as _grouped
    _, found = _grouped(*grouped)
    return EndpointRow(method, url_path, found)
