"""Writes rows of an export as lines of JSON or as CSV, and in a page the checkpoint behind them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from contract.exports import CHECKPOINT, END, ExportFormat
from device_registration_api.exports.pages import Page
from servicekit.http.csv_text import csv_text

# Writes a page of rows with fields of these names, in CSV below a line with the names if it is asked for.
Writer = Callable[[Page, Sequence[str], bool], bytes]


def lines(rows: Sequence[str]) -> bytes:
    """Return a line for each row. JSON of PostgreSQL has no line ends in it."""
    return "\n".join([*rows, ""]).encode()


def cells(rows: Sequence[str]) -> Iterator[list[object]]:
    """Return the fields of each row; what is no text, number or null is JSON."""
    parsed: Iterator[dict[str, Any]] = map(from_json, rows)
    return ([*map(_cell, row.values())] for row in parsed)


def csv(rows: Sequence[str]) -> bytes:
    """Return the rows in CSV, without names."""
    return csv_text(cells(rows)).encode()


def names(fields: Sequence[str]) -> bytes:
    """Return the line in CSV with the names of fields."""
    return csv_text([fields]).encode()


def _lines_of_page(page: Page, _: Sequence[str], __: bool) -> bytes:
    checkpoint: dict[str, object] = {CHECKPOINT: page.position.text()}
    if page.is_end:
        checkpoint[END] = True
    return lines([*page.rows, to_json(checkpoint).decode()])


def _csv_of_page(page: Page, fields: Sequence[str], with_names: bool) -> bytes:
    """The checkpoint is in a last column of its own; the other fields of its line are empty."""
    found: list[Sequence[object]] = [[*fields, CHECKPOINT]] if with_names else []
    found.extend([*row, None] for row in cells(page.rows))
    found.append([*[None] * len(fields), page.position.text()])
    return csv_text(found).encode()


PAGE_WRITERS: Mapping[ExportFormat, Writer] = {ExportFormat.NDJSON: _lines_of_page, ExportFormat.CSV: _csv_of_page}


def _cell(value: object) -> object:
    return to_json(value).decode() if isinstance(value, dict | list) else value
