"""What the database itself says, read as its administrator and past every service."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from select import select
from typing import Any

import psycopg2
from psycopg2.sql import Composed

from servicekit.database import Connection
from servicekit.database.connection_string import SERVICE_TIMEOUTS, SessionTimeouts, dsn
from tests.servers import MigratedDatabase, Product, run_command


@contextmanager
def administrator(database: MigratedDatabase) -> Iterator[Connection]:
    """A connection whose every statement is committed at once."""
    with closing(psycopg2.connect(database.admin_url)) as connection:
        connection.autocommit = True
        yield connection


def rows(
    database: MigratedDatabase, statement: str | Composed, parameters: Mapping[str, object] | None = None
) -> list[Any]:
    """Run one statement; its rows, or none if it returns none."""
    with _KEPT.administrator(database, statement) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


def dsn_of(env: Mapping[str, str], *, timeouts: SessionTimeouts = SERVICE_TIMEOUTS) -> str:
    """The connection string of a login, of its environment variables."""
    return dsn(
        host=env["DB_HOST"],
        port=int(env["DB_PORT"]),
        name=env["DB_NAME"],
        user=env["DB_USER"],
        password=env["DB_PASSWORD"],
        application="test",
        timeouts=timeouts,
    )


def leave() -> None:
    """Be connected nowhere: only a database that nobody is connected to can be copied."""
    _KEPT.close()


class _KeptConnection:
    """The connection to the database that was last asked: to make one takes longer than most statements."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._url = ""
        self._connection: Connection | None = None

    @contextmanager
    def administrator(self, database: MigratedDatabase, statement: str | Composed) -> Iterator[Connection]:
        """As `administrator`; one that nobody used before, if the kept one is in use or might be changed."""
        changes_session = isinstance(statement, str) and statement.lstrip().startswith("SET ")
        if changes_session or not self._lock.acquire(blocking=False):
            with administrator(database) as connection:
                yield connection
            return
        try:
            yield self._to(database)
        finally:
            self._lock.release()

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()

    def _to(self, database: MigratedDatabase) -> Connection:
        kept = self._connection
        # The server has said something unasked: that it has stopped, or dropped the database.
        if kept is not None and (self._url != database.admin_url or kept.closed or select([kept], [], [], 0)[0]):
            kept.close()
            kept = None
        if kept is None:
            kept = psycopg2.connect(database.admin_url)
            kept.autocommit = True
            self._url, self._connection = database.admin_url, kept
        return kept


_KEPT = _KeptConnection()


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
