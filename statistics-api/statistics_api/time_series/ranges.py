"""Which stretch of time a client asks for: parameters in, edges of buckets out."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import QueryParams

from contract.text import QueryInstant
from contract.time_series import MINUTES_KEPT, Interval
from servicekit.errors import BadRequest, Invalid
from servicekit.http.error_responses import invalid
from statistics_api.time_series.buckets import TooManyBucketsError, bucket_edges

POINTS_MAX = 10_000
# The range without `from`, ending at `to`; the route's documentation says the same.
DEFAULT_RANGE: dict[Interval, timedelta] = {
    "minute": timedelta(hours=1),
    "hour": timedelta(days=1),
    "day": timedelta(days=30),
    "month": timedelta(days=365),
}
# Before the first there is nothing to count, and after the last a calendar is a guess.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_INSTANT: TypeAdapter[datetime] = TypeAdapter(QueryInstant)
_ZONES = available_timezones()


class Range(NamedTuple):
    """Buckets of one width, as the clocks of one zone show them."""

    interval: Interval
    zone: ZoneInfo
    edges: tuple[datetime, ...]


def read_range(query: QueryParams, now: datetime) -> Range:
    """The range that `interval`, `from`, `to` and `timezone` describe.

    Raises:
        Invalid: a parameter is malformed.
        BadRequest: the range is longer than a series may be, or reaches back farther than minutes are kept.
    """
    interval = _interval(query.get("interval", "hour"))
    zone = _zone(query.get("timezone", "UTC"))
    end = _instant(query, "to") or now
    start = _instant(query, "from") or end - DEFAULT_RANGE[interval]
    if start >= end:
        raise Invalid.single("must be before `to`", "query", "from")
    if interval == "minute" and start < now - MINUTES_KEPT:
        raise BadRequest(f"interval=minute reaches back {MINUTES_KEPT.days} days; use interval=hour before that")
    try:
        edges = bucket_edges(start, end, interval, zone, buckets_max=POINTS_MAX)
    except TooManyBucketsError:
        sentence = f"The range has more than {POINTS_MAX} points; shorten it or use a wider interval than {interval}"
        raise BadRequest(sentence) from None
    return Range(interval, zone, tuple(edges))


def _interval(value: str) -> Interval:
    for interval in get_args(Interval):
        if value == interval:
            return interval  # type: ignore[no-any-return]  # get_args knows the values, not their type
    raise Invalid.single(f"must be one of {', '.join(get_args(Interval))}", "query", "interval")


def _zone(name: str) -> ZoneInfo:
    if name not in _ZONES:  # never a path that a client wrote
        raise Invalid.single("must be an IANA time zone, like Europe/Berlin", "query", "timezone")
    return ZoneInfo(name)


def _instant(query: QueryParams, name: str) -> datetime | None:
    text = query.get(name)
    if text is None:
        return None
    try:
        instant = _INSTANT.validate_python(text)
    except ValidationError as error:
        raise invalid(error, "query", name) from None
    if not _EARLIEST <= instant <= _LATEST:
        raise Invalid.single(f"must be between {_EARLIEST.year} and {_LATEST.year}", "query", name)
    return instant
