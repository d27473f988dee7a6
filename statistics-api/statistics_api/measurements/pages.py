"""Reads which measurements a page of rows has, and tells where the next page begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from pydantic import TypeAdapter, ValidationError

from contract.text import UtcQueryInstant
from servicekit.errors import Invalid
from servicekit.http.error_responses import invalid
from servicekit.http.openapi import Schema, query
from statistics_api.cursors import CURSOR, CURSOR_PARAMETER, Cursor, StoredRow, read_cursor
from statistics_api.devices.documentation import LIMIT, LIMIT_PARAMETER, SKIP, SKIP_PARAMETER, skip_and_limit
from statistics_api.measurements.periods import Period

START = "start_time"
END = "end_time"
_INSTANT: TypeAdapter[datetime] = TypeAdapter(UtcQueryInstant)

ROWS_PARAMETERS: list[Schema] = [
    query(START, datetime, "RFC 3339; included. A time without a zone is UTC."),
    query(END, datetime, "RFC 3339; included. A time without a zone is UTC."),
    SKIP_PARAMETER,
    LIMIT_PARAMETER,
    CURSOR_PARAMETER,
]


class RowsPage(NamedTuple):
    """Which rows of a device are asked for; `before` is the last row of the page before it."""

    period: Period
    skip: int
    limit: int
    before: Cursor | None

    def link(self, device_id: str, rows: Sequence[StoredRow], parameters: Mapping[str, str]) -> str:
        """Return the value of the header Link that leads to the rows after these."""
        kept: dict[str, Any] = {name: parameters[name] for name in (START, END) if name in parameters}
        following = urlencode({**kept, LIMIT: self.limit, CURSOR: rows[-1].cursor})
        return f'</api/v1/stats/devices/{quote(device_id, safe="")}?{following}>; rel="next"'


def rows_page(parameters: Mapping[str, str]) -> RowsPage:
    """Return the page that the parameters of a request describe.

    Raises:
        Invalid: a parameter is malformed, or the page is too far from the first one.
    """
    start, end = _instant(parameters, START), _instant(parameters, END)
    if start is not None and end is not None and start > end:
        raise Invalid.single(f"must not be after `{END}`", "query", START)
    before = read_cursor(parameters)
    if before is not None and SKIP in parameters:
        raise Invalid.single(f"must not be sent together with `{CURSOR}`", "query", SKIP)
    return RowsPage(Period.inclusive(start, end), *skip_and_limit(parameters), before)


def _instant(parameters: Mapping[str, str], name: str) -> datetime | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        return _INSTANT.validate_python(text)
    except ValidationError as error:
        raise invalid(error, "query", name) from None
