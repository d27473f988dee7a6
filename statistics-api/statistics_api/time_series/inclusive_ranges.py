"""Reads a range whose ends are both included, as `start_date` and `end_date` of API analytics are."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from servicekit.errors import Invalid
from servicekit.http.openapi import query
from statistics_api.time_series.buckets import day_of
from statistics_api.time_series.ranges import read_instant


@dataclass(frozen=True)
class InclusiveRangeParameters:
    """The two query parameters of a range with inclusive ends, with their rules."""

    start: str = "start_date"
    end: str = "end_date"
    # The difference between the end that a client names and that of a half-open range.
    smallest: ClassVar = timedelta(microseconds=1)

    def read(self, parameters: Mapping[str, str], now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """Return the range as [start, end): the end is the first instant after the one that the client named.

        Without an end, it is the end of the present day of `zone`, or of the day of a later start. Without a start, it
        is the beginning of the day of the end.

        Raises:
            Invalid: a parameter is malformed, or the start is after the end.
        """
        start, last = read_instant(parameters, self.start), read_instant(parameters, self.end)
        if last is None:
            _, end = day_of(now if start is None else max(start, now), zone)
        else:
            end = last + self.smallest
        if start is None:
            start, _ = day_of(end - self.smallest, zone)
        if start >= end:
            raise Invalid.single(f"must not be after `{self.end}`", "query", self.start)
        return start, end

    def documented(self) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        return [
            query(self.start, datetime, "RFC 3339 with a zone. Default: the beginning of the present day."),
            query(self.end, datetime, "RFC 3339 with a zone; included. Default: the end of the present day."),
        ]
