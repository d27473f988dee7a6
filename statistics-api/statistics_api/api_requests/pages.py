"""Reads which requests a page of raw rows has, and tells where the next page begins."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from servicekit.errors import Invalid
from servicekit.http.query_parameters import read_number
from statistics_api.access.queries import Project
from statistics_api.api_requests.questions import RANGE
from statistics_api.cursors import CURSOR, Cursor, StoredRow, read_cursor, written_instant

PAGE = "page"
PAGE_SIZE = "page_size"
PAGE_SIZE_DEFAULT = 1_000
PAGE_SIZE_MAX = 10_000
# A page is found by reading all before it; the header Link leads farther at no cost.
OFFSET_MAX = 100_000


class RowsQuestion(NamedTuple):
    """The rows of [start, end) on one page, in one form; `before` is the last row of the page before it."""

    project: Project
    start: datetime
    end: datetime
    page_size: int
    offset: int
    before: Cursor | None
    # The parameters of the next page but its cursor, and its path.
    path: str
    as_csv: bool
    points: int = 0  # it has no series

    def link(self, rows: Sequence[StoredRow]) -> str:
        """Return the value of the header Link that leads to the rows after these."""
        parameters = {
            RANGE.start: written_instant(self.start),
            RANGE.end: written_instant(self.end - RANGE.smallest),
            PAGE_SIZE: self.page_size,
            CURSOR: rows[-1].cursor,
            **({"format": "csv"} if self.as_csv else {}),
        }
        return f'<{self.path}?{urlencode(parameters)}>; rel="next"'


def rows_question(
    project: Project, path: str, parameters: Mapping[str, str], now: datetime, *, as_csv: bool
) -> RowsQuestion:
    """Return the question of a request for raw rows.

    Raises:
        Invalid: a parameter is malformed, or the page is too far from the first one.
    """
    start, end = RANGE.read(parameters, now, ZoneInfo(project.timezone))
    page_size = read_number(parameters, PAGE_SIZE, PAGE_SIZE_DEFAULT, 1, PAGE_SIZE_MAX)
    page = read_number(parameters, PAGE, 1, 1, OFFSET_MAX + 1)
    before = read_cursor(parameters)
    if before is not None and PAGE in parameters:
        raise Invalid.single(f"must not be sent together with `{CURSOR}`", "query", PAGE)
    offset = (page - 1) * page_size
    if offset > OFFSET_MAX:
        sentence = f"reaches {OFFSET_MAX} rows; follow the header Link from page to page, or shorten the range"
        raise Invalid.single(sentence, "query", PAGE)
    return RowsQuestion(project, start, end, page_size, offset, before, path, as_csv)
