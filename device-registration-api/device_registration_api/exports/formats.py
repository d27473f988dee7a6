"""Writes pages of an export as lines of JSON or as CSV, each with the checkpoint behind it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_core import from_json, to_json

from contract.exports import CHECKPOINT, END, ExportFormat
from device_registration_api.exports.pages import Page
from servicekit.http.csv_text import csv_text

# Writes a page of rows with fields of these names, in CSV below a line with the names if it is asked for.
Writer = Callable[[Page, Sequence[str], bool], bytes]


def lines(page: Page, _: Sequence[str], __: bool) -> bytes:
    """Return a line for each row and one with the checkpoint. JSON of PostgreSQL has no line ends in it."""
    checkpoint: dict[str, object] = {CHECKPOINT: page.position.text()}
    if page.is_end:
        checkpoint[END] = True
    return "\n".join([*page.rows, to_json(checkpoint).decode(), ""]).encode()


def csv(page: Page, names: Sequence[str], with_names: bool) -> bytes:
    """Return the rows and, in a last column of its own, the checkpoint; the other fields of that line are empty."""
    rows: list[Sequence[object]] = [[*names, CHECKPOINT]] if with_names else []
    parsed: Iterator[dict[str, Any]] = map(from_json, page.rows)
    rows.extend([*map(_cell, row.values()), None] for row in parsed)
    rows.append([*[None] * len(names), page.position.text()])
    return csv_text(rows).encode()


WRITERS: Mapping[ExportFormat, Writer] = {ExportFormat.NDJSON: lines, ExportFormat.CSV: csv}


def _cell(value: object) -> object:
    return to_json(value).decode() if isinstance(value, dict | list) else value
