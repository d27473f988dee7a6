"""Reads a range of whole days: query parameters in, the first and the last day out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from servicekit.errors import Invalid
from servicekit.http.openapi import query

_EARLIEST = date(1970, 1, 1)
_LATEST = date(2199, 12, 31)
_CHARACTERS = len("2026-11-30")


@dataclass(frozen=True)
class DayRangeParameters:
    """The two query parameters of a range of days, both included, with their rules."""

    start: str = "from"
    end: str = "to"
    default_days: ClassVar = 30

    def read(self, parameters: Mapping[str, str], now: datetime, zone: ZoneInfo) -> tuple[date, date]:
        """Return the first and the last day. Without an end, it is the present day of `zone`, or a later start; without
        a start, the range has `default_days`.

        Raises:
            Invalid: a parameter is malformed, or the start is after the end.
        """
        start, end = _read(parameters, self.start), _read(parameters, self.end)
        if end is None:
            today = now.astimezone(zone).date()
            end = today if start is None else max(start, today)
        if start is None:
            start = max(_EARLIEST, end - timedelta(days=self.default_days - 1))
        if start > end:
            raise Invalid.single(f"must not be after `{self.end}`", "query", self.start)
        return start, end

    def documented(self) -> list[dict[str, Any]]:
        """Return the parameters for the OpenAPI document."""
        return [
            query(self.start, date, f"The first day. Default: {self.default_days} days with the last one."),
            query(self.end, date, "The last day, which is included. Default: the present day."),
        ]


def _read(parameters: Mapping[str, str], name: str) -> date | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        # Python reads other forms of ISO 8601, too, such as weeks.
        day = date.fromisoformat(text) if len(text) == _CHARACTERS and text[4] == "-" == text[7] else None
    except ValueError:
        day = None
    if day is None or not _EARLIEST <= day <= _LATEST:
        message = f"must be a day like 2026-11-30, between {_EARLIEST.year} and {_LATEST.year}"
        raise Invalid.single(message, "query", name)
    return day
