"""Periods of measurements: which quarters of an hour a period has as a whole, and what is left at its two ends."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

QUARTER = timedelta(minutes=15)
# The difference between the end that a client names, which is included, and that of a half-open period.
SMALLEST = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Nothing was measured before, and nothing after.
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
# A measurement is received from 5 minutes before to 30 days after it happened: only the weeks of that time are opened.
_AHEAD = timedelta(minutes=6)
_LATE = timedelta(days=31)


class Edge(NamedTuple):
    """The part [start, end) of the quarter of an hour that begins at `quarter`."""

    quarter: datetime
    start: datetime
    end: datetime


class Period(NamedTuple):
    """The measurements of [start, end); None is an open end."""

    start: datetime | None
    end: datetime | None

    @classmethod
    def inclusive(cls, start: datetime | None, end: datetime | None) -> "Period":
        """Return the period whose two ends are included."""
        return cls(
            None if start is None else min(max(start, _EPOCH), _LATEST),
            None if end is None else min(max(end, _EPOCH), _LATEST) + SMALLEST,
        )

    def parameters(self) -> dict[str, object]:
        """Return the parameters of a statement: the ends, those of the whole quarters of an hour, and the edges."""
        first = None if self.start is None else _ceiling(self.start)
        last = None if self.end is None else _floor(self.end)
        edges = _edges(self, first, last)
        return {
            "start": self.start,
            "end": self.end,
            "received_start": None if self.start is None else self.start - _AHEAD,
            "received_end": None if self.end is None else self.end + _LATE,
            "first": first,
            "last": last,
            "floor": None if self.start is None else _floor(self.start),
            "quarters": [edge.quarter for edge in edges],
            "starts": [edge.start for edge in edges],
            "ends": [edge.end for edge in edges],
        }


def _edges(period: Period, first: datetime | None, last: datetime | None) -> list[Edge]:
    start, end = period
    if start is not None and end is not None and first is not None and last is not None and first > last:
        return [Edge(last, start, end)]  # within one quarter of an hour
    edges: list[Edge] = []
    if start is not None and first is not None and start < first:
        edges.append(Edge(first - QUARTER, start, first))
    if end is not None and last is not None and last < end:
        edges.append(Edge(last, last, end))
    return edges


def _floor(instant: datetime) -> datetime:
    return instant - (instant - _EPOCH) % QUARTER


def _ceiling(instant: datetime) -> datetime:
    return instant + (_EPOCH - instant) % QUARTER
