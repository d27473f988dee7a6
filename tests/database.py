"""What the database itself says, read as its administrator and past every service."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg2

from servicekit.database import Connection
from tests.servers import MigratedDatabase, Product, run_command


@contextmanager
def administrator(database: MigratedDatabase) -> Iterator[Connection]:
    """A connection whose every statement is committed at once."""
    with closing(psycopg2.connect(database.admin_url)) as connection:
        connection.autocommit = True
        yield connection


def rows(database: MigratedDatabase, statement: str, parameters: Mapping[str, object] | None = None) -> list[Any]:
    """Run one statement; its rows, or none if it returns none."""
    with administrator(database) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def facts_by_user(database: MigratedDatabase) -> Counter[str]:
    """How many facts each user key has."""
    return Counter(dict(rows(database, "SELECT user_key, count(*) FROM auth_event GROUP BY user_key")))


def facts_of(database: MigratedDatabase, user_key: str) -> int:
    """How many facts one user key has."""
    [(found,)] = rows(database, "SELECT count(*) FROM auth_event WHERE user_key = %(key)s", {"key": user_key})
    return int(found)


def command(product: Product, *arguments: str) -> str:
    """Run one of the private service's operator commands as the writer; what it printed."""
    return run_command(product.database.writer_env, *arguments)


def assert_counts_are_exact(product: Product) -> None:
    """Every rollup equals its facts, by the command that operators have."""
    assert "no drift" in command(product, "verify-counts")
