"""Computes where buckets of time begin and end: minutes, hours, days and months in the local time of a time zone.

All zone rules come from one place, Python's zoneinfo; the database only compares instants. So a day of 23 or 25 hours
is one bucket, and there are no two tables of zone rules that could differ.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import floor
from zoneinfo import ZoneInfo

from contract.time_series import Interval

_MINUTE = timedelta(minutes=1)
# Hours are computed in whole seconds since the epoch: 10,000 of them take as long as 10,000 days, 15 ms.
_QUARTER = 15 * 60
_HOUR = 60 * 60


class TooManyBucketsError(Exception):
    """The range has more buckets than are allowed."""


def bucket_edges(
    start: datetime, end: datetime, interval: Interval, zone: ZoneInfo, *, buckets_max: int
) -> list[datetime]:
    """Return the edges of the whole buckets that cover [start, end): one edge more than there are buckets.

    Edges are strictly increasing instants in UTC; the last one is the end of the last bucket.

    Raises:
        TooManyBucketsError: there are more than `buckets_max`.
    """
    edges: list[datetime] = []
    for edge in _hours(start, zone) if interval == "hour" else _edges(start, interval, zone):
        edges.append(edge)
        if edge >= end:
            return edges
        if len(edges) > buckets_max:
            break
    raise TooManyBucketsError


def day_of(instant: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the beginning and the end, in UTC, of the day of `zone` that contains `instant`."""
    begin = _floor(instant, "day", zone)
    return begin, _next(begin, "day", zone)


def _edges(start: datetime, interval: Interval, zone: ZoneInfo) -> Iterator[datetime]:
    edge = _floor(start, interval, zone)
    while True:
        yield edge
        edge = _next(edge, interval, zone)


def _floor(instant: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    local = instant.astimezone(zone)
    if interval == "day":
        return _midnight(local.date(), zone)
    if interval == "month":
        return _midnight(local.date().replace(day=1), zone)
    return instant.astimezone(UTC) - timedelta(seconds=local.second, microseconds=local.microsecond)


def _next(edge: datetime, interval: Interval, zone: ZoneInfo) -> datetime:
    if interval == "minute":
        return edge + _MINUTE
    day = edge.astimezone(zone).date()
    while True:
        day = day + timedelta(days=1) if interval == "day" else _first_of_next_month(day)
        following = _midnight(day, zone)
        # It is not later only if a whole day was skipped: Samoa had no 30 December 2011.
        if following > edge:
            return following


def _hours(start: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    edge = _hour_begin(floor(start.timestamp()), zone)
    offset = _offset(edge, zone)
    while True:
        full_hour = edge + _HOUR - (edge + offset) % _HOUR
        if _offset(full_hour, zone) == offset:
            following = full_hour
        else:
            # Clocks change before the full hour: in Lord Howe by half an hour, so one bucket has only thirty minutes.
            begins = (_hour_begin(edge + quarters * _QUARTER, zone) for quarters in range(1, 6))
            following = next(begin for begin in begins if begin > edge)
            offset = _offset(following, zone)
        # Until 1979 an hour began within a quarter of an hour in Kiritimati: one that ends at the start is left out.
        if following > start.timestamp():
            yield datetime.fromtimestamp(edge, UTC)
        edge = following


def _hour_begin(instant: int, zone: ZoneInfo) -> int:
    """Return the time since which the local clocks show this hour at the current offset: a full hour of local time, or
    the quarter of an hour in which the clocks changed to this offset. In Kolkata, an hour begins at half past in UTC.
    """
    quarter = instant - instant % _QUARTER
    offset = _offset(quarter, zone)
    full_hour = quarter - (quarter + offset) % _HOUR
    while quarter > full_hour and _offset(quarter - _QUARTER, zone) == offset:
        quarter -= _QUARTER
    return max(quarter, full_hour)


def _offset(instant: int, zone: ZoneInfo) -> int:
    """Return the offset in seconds at the end of the quarter of an hour that contains `instant`.

    If the clocks change within it (in St. John's they did so at one past midnight), the change counts from its
    beginning, because the counts are stored by the quarter of an hour.
    """
    offset = datetime.fromtimestamp(instant - instant % _QUARTER + _QUARTER - 1, zone).utcoffset()
    assert offset is not None  # noqa: S101 - a ZoneInfo always has one
    return offset // timedelta(seconds=1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant of a day; if the clocks skip midnight, that is the moment of the change."""
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def _first_of_next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
