"""The only way to `execute`: a literal statement, named parameters, a typed result."""

from collections.abc import Callable, Mapping
from typing import LiteralString, TypeVar

from servicekit.database import Connection

Row = TypeVar("Row")


def execute(conn: Connection, statement: LiteralString, parameters: Mapping[str, object]) -> int:
    """Run a statement that returns no rows; the number of rows it touched."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


def fetch_all(
    conn: Connection, statement: LiteralString, parameters: Mapping[str, object], row: Callable[..., Row]
) -> list[Row]:
    """Run a statement and build one `row(*columns)` a row."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [row(*columns) for columns in cursor.fetchall()]
