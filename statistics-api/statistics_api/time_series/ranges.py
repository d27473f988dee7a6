"""Reads the requested range of time: query parameters in, edges of buckets out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from pydantic import TypeAdapter, ValidationError

from contract.text import QueryInstant, UtcQueryInstant
from contract.time_series import MINUTES_KEPT, Interval
from servicekit.errors import BadRequest, Invalid
from servicekit.http.error_responses import invalid
from servicekit.http.openapi import query
from statistics_api.time_series.buckets import TooManyBucketsError, bucket_edges

POINTS_MAX = 10_000
# There are no events before the first, and no reliable zone rules after the last.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_INSTANT: TypeAdapter[datetime] = TypeAdapter(QueryInstant)
_INSTANT_OR_UTC: TypeAdapter[datetime] = TypeAdapter(UtcQueryInstant)
_ZONES = available_timezones()


class Range(NamedTuple):
    """Buckets of one width, in the local time of one zone. A range with only one edge is empty."""

    interval: Interval
    zone: ZoneInfo
    edges: tuple[datetime, ...]


@dataclass(frozen=True)
class RangeParameters:
    """The query parameters of a route that describe a range, with their rules."""

    # For each interval of the route, the length of a range without a start; the first interval is the default.
    default_ranges: Mapping[Interval, timedelta]
    minutes_kept: timedelta = MINUTES_KEPT
    start: str = "from"
    end: str = "to"
    interval: str = "interval"
    zone: str = "timezone"
    # Family 2 alone: a time without a zone is UTC.
    zone_is_optional: bool = False

    def read(self, parameters: Mapping[str, str], now: datetime) -> Range:
        """Return the range that the parameters of a request describe.

        A start after `now`, without an end, is an empty range, because the client's clock may be ahead of ours.

        Raises:
            Invalid: a parameter is malformed.
            BadRequest: the range has too many points, or it begins before the oldest minutes that are kept.
        """
        interval = read_interval(parameters, self.interval, self.default_ranges)
        zone = read_zone(parameters, self.zone, "UTC")
        end = read_instant(parameters, self.end, zone_is_optional=self.zone_is_optional)
        start = (
            read_instant(parameters, self.start, zone_is_optional=self.zone_is_optional)
            or (end or now) - self.default_ranges[interval]
        )
        if end is not None and start >= end:
            raise Invalid.single(f"must be before `{self.end}`", "query", self.start)
        if interval == "minute" and start < now - self.minutes_kept:
            raise too_old_for_minutes(self.interval, self.minutes_kept)
        edges = read_edges(start, end or max(start, now), interval, zone)
        is_ahead = end is None and start >= now
        return Range(interval, zone, tuple(edges[:1] if is_ahead else edges))

    def documented(self) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        defaults = ", ".join(f"{_words(length)} by {interval}" for interval, length in self.default_ranges.items())
        intervals = Literal[tuple(self.default_ranges)]  # type: ignore[valid-type]  # made of values
        usual = next(iter(self.default_ranges))
        written = "RFC 3339; without a zone it is UTC" if self.zone_is_optional else "RFC 3339 with a zone"
        return [
            query(self.interval, intervals, f"The width of a bucket. Default: {usual}.", example=usual),
            query(self.start, datetime, f"{written}. Default: the last {defaults}."),
            query(self.end, datetime, f"{written}; not included. Default: now."),
            query(
                self.zone,
                str,
                "An IANA time zone; buckets follow its local time, with days of 23 and 25 hours. Default: UTC.",
                example="Europe/Berlin",
            ),
        ]


def read_interval(parameters: Mapping[str, str], name: str, intervals: Iterable[Interval]) -> Interval:
    """Return the width of a bucket; without the parameter, the first of `intervals`.

    Raises:
        Invalid: it is none of them.
    """
    value = parameters.get(name)
    for interval in intervals:
        if value in (interval, None):
            return interval
    raise Invalid.single(f"must be one of {', '.join(intervals)}", "query", name)


def read_zone(parameters: Mapping[str, str], name: str, default: str) -> ZoneInfo:
    """Return the time zone. Raises Invalid if it is none of IANA's."""
    zone = parameters.get(name, default)
    if zone not in _ZONES:  # ZoneInfo must never open a path that a client chose
        raise Invalid.single("must be an IANA time zone, like Europe/Berlin", "query", name)
    return ZoneInfo(zone)


def read_instant(parameters: Mapping[str, str], name: str, *, zone_is_optional: bool = False) -> datetime | None:
    """Return a time, in UTC. Raises Invalid if it is malformed, or of another age."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        instant = (_INSTANT_OR_UTC if zone_is_optional else _INSTANT).validate_python(text)
    except ValidationError as error:
        raise invalid(error, "query", name) from None
    if not _EARLIEST <= instant <= _LATEST:
        raise Invalid.single(f"must be between {_EARLIEST.year} and {_LATEST.year}", "query", name)
    return instant


def read_edges(start: datetime, end: datetime, interval: Interval, zone: ZoneInfo) -> list[datetime]:
    """Return the edges of the buckets that cover [start, end). Raises BadRequest if they are too many."""
    try:
        return bucket_edges(start, end, interval, zone, buckets_max=POINTS_MAX)
    except TooManyBucketsError:
        hint = f"shorten it or use a wider interval than {interval}"
        raise BadRequest(f"The range has more than {POINTS_MAX} points; {hint}") from None


def too_old_for_minutes(name: str, minutes_kept: timedelta) -> BadRequest:
    """Return the refusal of a range that begins before the oldest minutes that are kept."""
    return BadRequest(f"{name}=minute reaches back {minutes_kept.days} days; use hour before that")


def _words(length: timedelta) -> str:
    hours = length // timedelta(hours=1)
    return f"{length.days} days" if length.days > 1 else f"{hours} hours" if hours > 1 else "hour"
