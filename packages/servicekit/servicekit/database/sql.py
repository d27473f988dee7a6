"""Runs one statement with named parameters and returns typed rows. The text is literal or composed, never formatted."""

from collections.abc import Callable, Mapping
from typing import LiteralString, TypeAlias, TypeVar

from psycopg2.sql import Composed

from servicekit.database import Connection

Row = TypeVar("Row")

# Composed: table and column names that come from the database's own catalogue, quoted by psycopg2.
Statement: TypeAlias = LiteralString | Composed


def execute(conn: Connection, statement: Statement, parameters: Mapping[str, object]) -> int:
    """Run a statement that returns no rows, and return the number of rows that it changed."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.rowcount


def fetch_all(
    conn: Connection, statement: Statement, parameters: Mapping[str, object], row: Callable[..., Row]
) -> list[Row]:
    """Run a statement and return `row(*columns)` for each row of its result."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters)
        return [row(*columns) for columns in cursor.fetchall()]
