"""Where buckets of time begin and end: hours, days and months as the clocks of a time zone show them.

All zone rules are taken from one place, Python's zoneinfo; the database only compares instants. So a day of 23 or
25 hours is one bucket, and no two tables of zone rules can disagree.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)


# The width of a bucket. Days and months follow the calendar of the zone.
Interval: TypeAlias = Literal["minute", "hour", "day", "month"]


class TooManyBucketsError(Exception):
    """The range holds more buckets than were asked for."""


def bucket_edges(
    start: datetime, end: datetime, interval: Interval, zone: ZoneInfo, *, buckets_max: int
) -> list[datetime]:
    """The edges of the buckets that cover [start, end), aligned outwards: one more than there are buckets.

    Edges are strictly increasing instants in UTC; the last one is the end of the last bucket.

    Raises:
        TooManyBucketsError: more than `buckets_max`.
    """
    edges = [_floor(start, interval, zone)]
    while edges[-1] < end:
        if len(edges) > buckets_max:
            raise TooManyBucketsError
        edges.append(_next(edges[-1], interval, zone))
    return edges


def _floor(instant: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    if interval == "day":
        return _midnight(local.date(), zone)
    if interval == "month":
        return _midnight(local.date().replace(day=1), zone)
    # By the offset in force at this instant: in Kolkata, an hour begins at half past by UTC.
    past = timedelta(seconds=local.second, microseconds=local.microsecond)
    if interval == "hour":
        past += timedelta(minutes=local.minute)
    return instant.astimezone(UTC) - past


def _next(edge: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    if interval == "minute":
        return edge + _MINUTE
    if interval == "hour":
        # Where clocks are turned by half an hour (Lord Howe), one bucket is shorter and the next ones fit again.
        aligned = _floor(edge + _HOUR, interval, zone)
        return aligned if aligned > edge else edge + _HOUR
    day = edge.astimezone(zone).date()
    while True:
        day = day + timedelta(days=1) if interval == "day" else _first_of_next_month(day)
        following = _midnight(day, zone)
        # Not later only where a whole day was skipped: Samoa had no 30 December 2011.
        if following > edge:
            return following


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a day; where clocks jump over midnight, that is the jump."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
