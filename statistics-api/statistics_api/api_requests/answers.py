"""Answers of figures: the rows of a table, as JSON or CSV."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

from pydantic_core import to_json

from contract.api_requests.events import MICROSECONDS
from contract.api_requests.metrics import (
    OTHER_PATH,
    DistributionCell,
    EndpointFigures,
    RequestFigures,
    SeriesPoint,
    StoredRequest,
    Summary,
)
from servicekit.http.csv_text import csv_text
from statistics_api.api_requests.figures import NO_POINT, NOTHING, Figures, Point
from statistics_api.api_requests.queries import PERCENTS, EndpointRow, Whole
from statistics_api.cursors import StoredRow
from statistics_api.polling.tagged_answers import TaggedAnswer
from statistics_api.time_series.formats import CSV_WITH_HEADER, FORMATS_VARY, csv_headers, local_times

_FIGURES = tuple(RequestFigures.model_fields)
_ENDPOINT_NAMES = ("method", "url_path")
# The contract's order is that of the document; the names come first in a table.
_ENDPOINT = (*_ENDPOINT_NAMES, *_FIGURES)
_SUMMARY = tuple(Summary.model_fields)
_STORED = tuple(StoredRequest.model_fields)
_POINT = tuple(SeriesPoint.model_fields)
_CELL = tuple(DistributionCell.model_fields)
assert ("timestamp", *Point._fields) == _POINT  # noqa: S101 - both are of this release
assert set(_ENDPOINT) == set(EndpointFigures.model_fields)  # noqa: S101 - both are of this release


class Table(NamedTuple):
    """Rows with named columns; `is_single`: in JSON it is one object and no array."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    is_single: bool = False

    def answer(
        self, project_id: int, name: str, *, as_csv: bool, headers: Mapping[str, str] = MappingProxyType({})
    ) -> TaggedAnswer:
        """Return the answer; as CSV, browsers save it as the file `name`."""
        if as_csv:
            body = csv_text([self.columns, *self.rows]).encode()
            return TaggedAnswer(
                body, project_id, media_type=CSV_WITH_HEADER, headers={**csv_headers(f"{name}.csv"), **headers}
            )
        objects = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return TaggedAnswer(
            to_json(objects[0] if self.is_single else objects), project_id, headers={**FORMATS_VARY, **headers}
        )


class EndpointSeries(NamedTuple):
    """The requests of each endpoint in each bucket: as CSV, a column a bucket."""

    timestamps: Sequence[str]
    rows: Sequence[tuple[str | None, str, Sequence[int]]]

    def answer(self, project_id: int, name: str, *, as_csv: bool) -> TaggedAnswer:
        """Return the answer, as a Table does."""
        if as_csv:
            table = Table(
                (*_ENDPOINT_NAMES, *self.timestamps), [(method, path, *each) for method, path, each in self.rows]
            )
            return table.answer(project_id, name, as_csv=True)
        columns = (*_ENDPOINT_NAMES, "request_counts")
        found = [dict(zip(columns, row, strict=True)) for row in self.rows]
        body = to_json({"timestamps": self.timestamps, "endpoints": found})
        return TaggedAnswer(body, project_id, headers=FORMATS_VARY)


def summary(whole: Whole, minutes: int, threshold_ms: int) -> Table:
    """Return the figures of a range that has so many minutes before now."""
    # None where the cells answer, and where there are no requests.
    exact = [us / MICROSECONDS for us in whole.exact] if whole.exact else None
    row = _row(whole.figures, minutes, threshold_ms, exact)
    return Table(_SUMMARY, [(*row, whole.consumers, whole.dropped)], is_single=True)


def endpoints(rows: Sequence[EndpointRow], minutes: int, threshold_ms: int) -> Table:
    """Return the figures of each endpoint, that with the most requests first."""
    named = [(each.method, each.url_path or OTHER_PATH, each.figures) for each in rows]
    named.sort(key=lambda each: (-each[2].requests, each[1], each[0] or ""))
    return Table(_ENDPOINT, [(method, path, *_row(each, minutes, threshold_ms)) for method, path, each in named])


def series(edges: Sequence[datetime], zone: ZoneInfo, found: Mapping[int, Point]) -> Table:
    """Return one point a bucket; a bucket without requests has no times."""
    starts = local_times(edges[:-1], zone)
    return Table(_POINT, [(start, *found.get(number, NO_POINT)) for number, start in enumerate(starts)])


def distribution(figures: Figures) -> Table:
    """Return the cells that have requests."""
    return Table(_CELL, figures.distribution())


def endpoint_distribution(rows: Sequence[EndpointRow], endpoint: tuple[str | None, str]) -> Table:
    """Return the cells of one endpoint that have requests."""
    return distribution(
        next((each.figures for each in rows if (each.method, each.url_path or OTHER_PATH) == endpoint), NOTHING)
    )


def endpoint_series(
    edges: Sequence[datetime], found: Sequence[tuple[str | None, str | None, Sequence[int]]]
) -> EndpointSeries:
    """Return the numbers of each endpoint, that with the most requests first."""
    named = [(method, path or OTHER_PATH, counts) for method, path, counts in found]
    named.sort(key=lambda each: (-sum(each[2]), each[1], each[0] or ""))
    return EndpointSeries([start.isoformat() for start in edges[:-1]], named)


def rows(found: Sequence[StoredRow]) -> Table:
    """Return the requests themselves."""
    return Table(_STORED, [each.values for each in found])


def _row(
    figures: Figures, minutes: int, threshold_ms: int, percentiles: Sequence[float | None] | None = None
) -> tuple[object, ...]:
    """Return the values of `_FIGURES`, with these percentiles if they are known."""
    if percentiles is None:
        percentiles = [figures.percentile_ms(percent) for percent in PERCENTS]
    return (
        figures.requests,
        figures.errors,
        figures.client_errors,
        figures.server_errors,
        figures.error_rate,
        figures.average_ms,
        *percentiles,
        figures.fastest_ms,
        figures.slowest_ms,
        figures.requests / minutes if minutes else 0.0,
        figures.apdex(threshold_ms),
    )
