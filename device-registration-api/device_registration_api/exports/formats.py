"""Writes rows of an export as lines of JSON or as CSV, and the checkpoint behind them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from contract.exports import CHECKPOINT, END, ROWS, ExportFormat
from device_registration_api.exports.pages import Page
from servicekit.http.csv_text import csv_text


class Form(NamedTuple):
    """How names, rows and a checkpoint are written. That of the end gets the number of rows."""

    names: Callable[[Sequence[str]], bytes]
    rows: Callable[[Sequence[str]], bytes]
    checkpoint: Callable[[Sequence[str], str, int | None], bytes]


def _csv(rows: Sequence[str]) -> bytes:
    return csv_text([*row, None, None] for row in _cells(rows)).encode()


def _csv_names(fields: Sequence[str]) -> bytes:
    return csv_text([[*fields, ROWS, CHECKPOINT]]).encode()


def _csv_checkpoint(fields: Sequence[str], cursor: str, end_rows: int | None) -> bytes:
    """The checkpoint is in a last column of its own, and the rows of the end in the one before."""
    return csv_text([[*[None] * len(fields), end_rows, cursor]]).encode()


def _lines(rows: Sequence[str]) -> bytes:
    """JSON of PostgreSQL has no line ends in it."""
    return "\n".join([*rows, ""]).encode()


def _line_of_checkpoint(_: Sequence[str], cursor: str, end_rows: int | None) -> bytes:
    end = {} if end_rows is None else {END: True, ROWS: end_rows}
    return to_json({CHECKPOINT: cursor, **end}) + b"\n"


FORMS: Mapping[ExportFormat, Form] = {
    ExportFormat.NDJSON: Form(lambda _: b"", _lines, _line_of_checkpoint),
    ExportFormat.CSV: Form(_csv_names, _csv, _csv_checkpoint),
}


def page_text(form: Form, page: Page, fields: Sequence[str], rows_before: int | None) -> bytes:
    """Return the rows of a page with the checkpoint behind them; the first one, before which none were, has names."""
    end_rows = (rows_before or 0) + len(page.rows) if page.is_end else None
    names = form.names(fields) if rows_before is None else b""
    return names + form.rows(page.rows) + form.checkpoint(fields, page.position.text(), end_rows)


def _cells(rows: Sequence[str]) -> Iterator[list[object]]:
    """Return the fields of each row; what is no text, number or null is JSON."""
    parsed: Iterator[dict[str, Any]] = map(from_json, rows)
    return ([*map(_cell, row.values())] for row in parsed)


def _cell(value: object) -> object:
    return to_json(value).decode() if isinstance(value, dict | list) else value
