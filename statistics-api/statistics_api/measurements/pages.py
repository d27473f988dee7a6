"""Reads which measurements a page of rows has, and tells where the next page begins."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from contract.text import UtcQueryInstant
from servicekit.errors import Invalid
from servicekit.http.error_responses import invalid
from servicekit.http.openapi import Schema, query
from statistics_api.devices.documentation import LIMIT, LIMIT_PARAMETER, SKIP, SKIP_PARAMETER, skip_and_limit
from statistics_api.measurements.periods import Period
from statistics_api.measurements.queries import Row

START = "start_time"
END = "end_time"
CURSOR = "cursor"
_BETWEEN = "~"
_INSTANT: TypeAdapter[datetime] = TypeAdapter(UtcQueryInstant)

ROWS_PARAMETERS: list[Schema] = [
    query(START, datetime, "RFC 3339; included. A time without a zone is UTC."),
    query(END, datetime, "RFC 3339; included. A time without a zone is UTC."),
    SKIP_PARAMETER,
    LIMIT_PARAMETER,
    query(CURSOR, str, "Where the next page begins; it is in the header `Link`."),
]


class RowsPage(NamedTuple):
    """Which rows of a device are asked for; `before` is the last row of the page before it."""

    period: Period
    skip: int
    limit: int
    before: tuple[datetime, str] | None

    def link(self, device_id: str, rows: Sequence[Row], parameters: Mapping[str, str]) -> str:
        """Return the value of the header Link that leads to the rows after these."""
        last = rows[-1]
        at = last.occurred_at.astimezone(UTC).replace(tzinfo=None).isoformat()
        kept: dict[str, Any] = {name: parameters[name] for name in (START, END) if name in parameters}
        following = urlencode({**kept, LIMIT: self.limit, CURSOR: f"{at}Z{_BETWEEN}{last.event_id}"})
        return f'</api/v1/stats/devices/{quote(device_id, safe="")}?{following}>; rel="next"'


def rows_page(parameters: Mapping[str, str]) -> RowsPage:
    """Return the page that the parameters of a request describe.

    Raises:
        Invalid: a parameter is malformed, or the page is too far from the first one.
    """
    start, end = _instant(parameters, START), _instant(parameters, END)
    if start is not None and end is not None and start > end:
        raise Invalid.single(f"must not be after `{END}`", "query", START)
    before = _cursor(parameters)
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


def _cursor(parameters: Mapping[str, str]) -> tuple[datetime, str] | None:
    text = parameters.get(CURSOR)
    if text is None:
        return None
    instant, _, event_id = text.partition(_BETWEEN)
    try:
        before = datetime.fromisoformat(instant), str(UUID(event_id))
    except ValueError:
        before = None
    if before is None or before[0].tzinfo is not UTC:
        raise Invalid.single("must be that of a header Link", "query", CURSOR)
    return before
