"""What a request asks about API requests: a project, a range and a form. Equal questions share one query."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contract.api_requests.metrics import GRANULARITIES, OTHER_PATH
from contract.time_series import MINUTES_KEPT, Interval
from servicekit.errors import BadRequest, Invalid
from statistics_api.access.queries import Project
from statistics_api.api_requests.covers import Part, Period, aligned, cover, extended
from statistics_api.time_series.inclusive_ranges import InclusiveRangeParameters
from statistics_api.time_series.ranges import Range, read_edges, read_interval, read_zone, too_old_for_minutes

RANGE = InclusiveRangeParameters()
GRANULARITY = "granularity"
TIMEZONE = "timezone"
EXACT = "exact"
METHOD, URL_PATH = "method", "url_path"
# Of each endpoint there is a number for each bucket.
ENDPOINT_GRANULARITIES: tuple[Interval, ...] = ("hour", "day")
ENDPOINT_BUCKETS_MAX = 400
# Minutes that are older may be deleted between the question and its answer.
MINUTES_USED = MINUTES_KEPT - timedelta(days=1)

_MINUTE = timedelta(minutes=1)


class Metric(StrEnum):
    """The answers of cells, as their routes and their files are named."""

    SUMMARY = "summary"
    ENDPOINTS = "endpoints"
    DISTRIBUTION = "distribution"
    TIME_SERIES = "time-series"
    ENDPOINT_SERIES = "endpoint-series"


class Question(NamedTuple):
    """One answer, in one form. `minutes` are those of the range before now; only series have `buckets`.

    `exact`: percentiles are those of the rows themselves.
    """

    metric: Metric
    project: Project
    parts: tuple[Part, ...]
    minutes: int
    buckets: Range | None
    as_csv: bool
    exact: bool = False
    # The method and the path of the endpoint whose distribution it is.
    endpoint: tuple[str | None, str] | None = None

    @property
    def points(self) -> int:
        """How many points its series has."""
        return 0 if self.buckets is None else len(self.buckets.edges)

    def days(self) -> tuple[date, date]:
        """Return the first and the last day of the range, in the zone of the project."""
        zone = ZoneInfo(self.project.timezone)
        start, last = self.parts[0].start, self.parts[-1].end - RANGE.smallest
        return start.astimezone(zone).date(), last.astimezone(zone).date()


def question(
    metric: Metric, project: Project, parameters: Mapping[str, str], now: datetime, *, as_csv: bool
) -> Question:
    """Return the question of a request for figures of a whole range; `now` is when the present minute began.

    Raises:
        Invalid: a parameter is malformed.
    """
    start, end = RANGE.read(parameters, now, ZoneInfo(project.timezone))
    endpoint = _endpoint(parameters) if metric is Metric.DISTRIBUTION else None
    if metric is Metric.ENDPOINTS or endpoint is not None:
        start, end = aligned(start, end, Period.QUARTER_HOUR)
        shortest = Period.QUARTER_HOUR
    else:
        start, end = extended(start, end, now - MINUTES_USED)
        shortest = Period.MINUTE
    # The present minute counts, and the answer changes once a minute.
    minutes = max(0, (min(end, now + _MINUTE) - start) // _MINUTE)
    exact = metric is Metric.SUMMARY and _flag(parameters, EXACT)
    return Question(metric, project, tuple(cover(start, end, shortest)), minutes, None, as_csv, exact, endpoint)


def series_question(project: Project, parameters: Mapping[str, str], now: datetime, *, as_csv: bool) -> Question:
    """Return the question of a request for a series.

    Raises:
        Invalid: a parameter is malformed.
        BadRequest: the range has too many points, or it begins before the oldest minutes that are kept.
    """
    granularity = read_interval(parameters, GRANULARITY, GRANULARITIES)
    zone = read_zone(parameters, TIMEZONE, project.timezone)
    start, end = RANGE.read(parameters, now, zone)
    if granularity == "minute" and start < now - MINUTES_KEPT:
        raise too_old_for_minutes(GRANULARITY, MINUTES_KEPT)
    edges = tuple(read_edges(start, end, granularity, zone))
    # Days of a zone that differs from UTC are made of quarters of an hour.
    are_days = granularity == "day" and all(aligned(edge, edge, Period.DAY) == (edge, edge) for edge in edges)
    period = Period.MINUTE if granularity == "minute" else Period.DAY if are_days else Period.QUARTER_HOUR
    part = Part(period, edges[0], edges[-1])
    return Question(Metric.TIME_SERIES, project, (part,), 0, Range(granularity, zone, edges), as_csv)


def endpoint_series_question(
    project: Project, parameters: Mapping[str, str], now: datetime, *, as_csv: bool
) -> Question:
    """Return the question of a request for the series of each endpoint, whose buckets are those of UTC.

    Raises:
        Invalid: a parameter is malformed.
        BadRequest: the range has too many buckets.
    """
    granularity = read_interval(parameters, GRANULARITY, ENDPOINT_GRANULARITIES)
    start, end = RANGE.read(parameters, now, ZoneInfo(project.timezone))
    edges = tuple(read_edges(start, end, granularity, ZoneInfo("UTC")))
    if len(edges) > ENDPOINT_BUCKETS_MAX + 1:
        raise BadRequest(f"a range has at most {ENDPOINT_BUCKETS_MAX} buckets here; take days, or shorten the range")
    period = Period.DAY if granularity == "day" else Period.QUARTER_HOUR
    part = Part(period, edges[0], edges[-1])
    buckets = Range(granularity, ZoneInfo("UTC"), edges)
    return Question(Metric.ENDPOINT_SERIES, project, (part,), 0, buckets, as_csv)


def _endpoint(parameters: Mapping[str, str]) -> tuple[str | None, str] | None:
    method, url_path = parameters.get(METHOD), parameters.get(URL_PATH)
    if url_path is None and method is not None:
        raise Invalid.single(f"is needed with {METHOD}", "query", URL_PATH)
    if url_path is None:
        return None
    if method is None and url_path != OTHER_PATH:
        raise Invalid.single(f"is needed with {URL_PATH}", "query", METHOD)
    return method, url_path


def _flag(parameters: Mapping[str, str], name: str) -> bool:
    value = parameters.get(name, "false")
    if value not in ("true", "false"):
        raise Invalid.single("must be true or false", "query", name)
    return value == "true"
