"""Covers a range of time with buckets that are stored: whole days (UTC) in its middle, shorter buckets at its ends."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(StrEnum):
    """The stored buckets, as the views are named."""

    MINUTE = "minute"
    QUARTER_HOUR = "quarter_hour"
    DAY = "day"


_WIDTHS = {
    Period.MINUTE: timedelta(minutes=1),
    Period.QUARTER_HOUR: timedelta(minutes=15),
    Period.DAY: timedelta(days=1),
}
_HOURS_OF_NOW = timedelta(hours=4)
_SHORTER = {Period.DAY: Period.QUARTER_HOUR, Period.QUARTER_HOUR: Period.MINUTE}


class Part(NamedTuple):
    """The buckets of one period that begin in [start, end)."""

    period: Period
    start: datetime
    end: datetime


def aligned(start: datetime, end: datetime, period: Period) -> tuple[datetime, datetime]:
    """Return the least range of whole buckets that contains [start, end)."""
    width = _WIDTHS[period]
    return start - (start - _EPOCH) % width, end + (_EPOCH - end) % width


def cover(start: datetime, end: datetime, shortest: Period) -> list[Part]:
    """Return the fewest kinds of bucket that cover [start, end), extended to whole buckets of the shortest period.

    The parts are in the order of time, and no two of them overlap.
    """
    start, end = aligned(start, end, shortest)
    return list(_parts(start, end, Period.DAY, shortest))


def _parts(start: datetime, end: datetime, period: Period, shortest: Period) -> Iterator[Part]:
    if start >= end:
        return
    width = _WIDTHS[period]
    first, last = start + (_EPOCH - start) % width, end - (end - _EPOCH) % width
    if period is shortest:
        yield Part(period, start, end)
    elif first >= last:
        yield from _parts(start, end, _SHORTER[period], shortest)
    else:
        yield from _parts(start, first, _SHORTER[period], shortest)
        yield Part(period, first, last)
        yield from _parts(last, end, _SHORTER[period], shortest)


def with_end_apart(parts: Sequence[Part]) -> Sequence[Part]:
    """Return the same buckets; the last hours are a part of their own if they are some of a day's quarters of an hour.

    Where a range ends now, requests arrive in its last hours, and the rest of the day remains as it was read before.
    """
    if not parts or parts[-1].period is not Period.QUARTER_HOUR:
        return parts
    last = parts[-1]
    cut = last.end - ((last.end - _EPOCH) % _HOURS_OF_NOW or _HOURS_OF_NOW)
    if cut <= last.start:
        return parts
    return [*parts[:-1], last._replace(end=cut), last._replace(start=cut)]


def extended(start: datetime, end: datetime, minutes_since: datetime) -> tuple[datetime, datetime]:
    """Return the least range that contains [start, end) and can be covered: whole minutes, and before `minutes_since`
    whole quarters of an hour.
    """
    first, _ = aligned(start, start, Period.MINUTE if start >= minutes_since else Period.QUARTER_HOUR)
    _, last = aligned(end, end, Period.MINUTE if end >= minutes_since else Period.QUARTER_HOUR)
    return first, last
