"""Writes rows as CSV in which a spreadsheet finds no formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

# A spreadsheet takes a text that begins with one of these for a formula, the wide forms included. An apostrophe is
# among them, so that the one that is added can be taken away again.
_FORMULA = "=+\\-@\t\r\n'＝＋－＠"  # noqa: RUF001 - the wide forms are meant
# Where a cell may begin: some spreadsheets split at a semicolon, a tab or the end of a line, within quotes, too.
_CELL_BEGINS = re.compile(f"(^|[;\t\r\n])(?=[{_FORMULA}])")
_CELL_ADDED = re.compile("(^|[;\t\r\n])'")


def harmless(text: str) -> str:
    """Return a text of a client with an apostrophe before each place where a spreadsheet may see a formula."""
    return _CELL_BEGINS.sub(r"\1'", text)


def as_sent(cell: str) -> str:
    """Return the text of which `harmless` made a cell."""
    return _CELL_ADDED.sub(r"\1", cell)


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Return rows in CSV (RFC 4180). None is an empty field; texts are harmless, and numbers are as they are."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return text.getvalue()
