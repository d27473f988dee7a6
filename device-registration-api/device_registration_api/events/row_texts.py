"""Writes stored rows as clients get them: those that were just stored, and those that PostgreSQL has written."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json


def row_texts(rows: Iterable[Mapping[str, object]]) -> list[bytes]:
    """Return each row as JSON in one line. Times are in UTC, with a Z."""
    return [to_json(row) for row in rows]


def respelled(row: str, spellings: Mapping[str, Callable[[Any], object]]) -> bytes:
    """Return a row that PostgreSQL wrote as `row_texts` writes it, so that a repeat gets the same bytes."""
    values = from_json(row)
    return to_json(values | {name: spell(values[name]) for name, spell in spellings.items()})
