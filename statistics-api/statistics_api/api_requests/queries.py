"""Reads of API requests: SELECT from the `stats` schema and nothing else. Each figure is a sum over stored cells."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, LiteralString, NamedTuple

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from statistics_api.api_requests.covers import Part, Period
from statistics_api.api_requests.figures import NO_REQUESTS, CellSums, Figures

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


def series(lease: Lease, project_id: int, part: Part, edges: Sequence[datetime]) -> dict[int, Figures]:
    """Return the figures between each edge and the next, by the number of the edge from 0; a gap has none."""
    statement = _by_group(_OF_PROJECT, _BUCKET, [part])
    parameters = {**_parameters(project_id, [part]), "edges": list(edges)}
    with lease.transaction() as conn:
        return {number - 1: each for number, each in fetch_all(conn, statement, parameters, _grouped)}


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
        SELECT {group} AS grouped_by, status_class, latency_cell,
               event_count, response_us_sum, response_us_min, response_us_max
          FROM {views[part.period]}
         WHERE project_id = %(project_id)s
           AND bucket_start >= %(start_{place})s
           AND bucket_start < %(end_{place})s
        """  # noqa: S608 - of constants of this file
        for place, part in zip(_PLACES, parts, strict=False)
    ]
    stored: LiteralString = " UNION ALL ".join(selects)
    statement: LiteralString = f"""
        SELECT grouped_by, array_agg(status_class), array_agg(latency_cell), array_agg(requests),
               sum(us_sum), min(us_min), max(us_max)
          FROM (SELECT grouped_by, status_class, latency_cell, sum(event_count)::bigint AS requests,
                       sum(response_us_sum) AS us_sum, min(response_us_min) AS us_min, max(response_us_max) AS us_max
                  FROM ({stored}) AS stored
                 GROUP BY grouped_by, status_class, latency_cell) AS cell
         GROUP BY grouped_by
    """  # noqa: S608 - of constants of this file
    return statement


def _parameters(project_id: int, parts: Sequence[Part]) -> dict[str, object]:
    ends = {
        name: instant
        for place, part in zip(_PLACES, parts, strict=False)
        for name, instant in ((f"start_{place}", part.start), (f"end_{place}", part.end))
    }
    return {"project_id": project_id, **ends}


def _grouped(
    group: int,
    status_classes: list[int],
    cells: list[int],
    requests: list[int],
    us_sum: Decimal,
    us_min: int,
    us_max: int,
) -> tuple[int, Figures]:
    return group, Figures.of(CellSums(status_classes, cells, requests, int(us_sum), us_min, us_max))


def _endpoint(method: str | None, url_path: str | None, *grouped: Any) -> EndpointRow:  # noqa: ANN401 - as _grouped
    _, found = _grouped(*grouped)
    return EndpointRow(method, url_path, found)
