"""Where a page of rows begins: after the last row of the page before it, which the header Link of that page names.

Rows are in the order of their times and ids, so no row is left out or shown twice while more are recorded.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

from servicekit.errors import Invalid
from servicekit.http.openapi import query

CURSOR = "cursor"
CURSOR_PARAMETER = query(CURSOR, str, "Where the next page begins; it is in the header `Link`.")
LINK_HEADER = {"Link": {"description": 'The next page, as `rel="next"`.', "schema": {"type": "string"}}}

_BETWEEN = "~"

# When the last row happened, in UTC, and its id.
Cursor: TypeAlias = tuple[datetime, str]


class StoredRow(NamedTuple):
    """A row of a page: its fields as its client gets them, the time when it happened last; and that time itself."""

    values: tuple[object, ...]
    occurred_at: datetime

    @classmethod
    def of(cls, *selected: Any) -> "StoredRow":  # noqa: ANN401 - columns of any type
        """Return the row of a statement that selects its id first and its time last."""
        *others, occurred_at = selected
        return cls((*others, written_instant(occurred_at)), occurred_at)

    @property
    def cursor(self) -> str:
        """The value of the parameter that leads to the rows after this one."""
        return f"{written_instant(self.occurred_at)}{_BETWEEN}{self.values[0]}"


def read_cursor(parameters: Mapping[str, str]) -> Cursor | None:
    """Return the last row of the page before; None without the parameter.

    Raises:
        Invalid: it is not one that a header Link had.
    """
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


def written_instant(instant: datetime) -> str:
    """Return a time as rows and links have it: in UTC, with a Z."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
