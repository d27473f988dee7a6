"""Reads the database of another system: one snapshot of it, in which nothing is ever changed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, LiteralString

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ, make_dsn, parse_dsn

from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.connection_string import CONNECTION_PARAMETERS
from servicekit.database.interruption import opened
from servicekit.database.sql import Statement, fetch_all

# The rows of one transaction: ten thousand, as a batch has at most.
CHUNK_ROWS = 10_000
_CONNECT_SECONDS_MAX = 10
# What the operator may have set for other programs must not end a long read.
_SESSION = (
    "-c timezone=UTC -c datestyle=ISO -c extra_float_digits=1 -c statement_timeout=0 "
    "-c idle_in_transaction_session_timeout=0"
)
_TYPES = """
    SELECT a.attname, format_type(a.atttypid, NULL)
      FROM pg_attribute AS a
     WHERE a.attrelid = to_regclass(%(table)s) AND a.attnum > 0 AND NOT a.attisdropped
"""

# Every time that these systems store is of their own clock. So one that is not between these bounds is damaged.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST_LOCAL = datetime(1970, 1, 1)  # noqa: DTZ001 - of any zone
_AHEAD_MAX = timedelta(days=1)
NO_TIME = "the time is NULL, infinite, or out of range (1970 to now)"

Row = tuple[Any, ...]


class Source:
    """The tables of another system, in one database or in several: each is where it is found."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Connect to each database.

        Raises:
            CommandError: a URL is none, or a server cannot be reached or refuses the login.
        """
        self._closing = ExitStack()
        self._connections: list[Connection] = []
        self._places: dict[str, Connection] = {}
        with ExitStack() as undo:
            for url in urls:
                self._connections.append(undo.enter_context(closing(_connect(url))))
            self._closing = undo.pop_all()

    def close(self) -> None:
        """End the snapshots."""
        self._closing.close()

    def require(self, system: str, tables: Mapping[str, Sequence[str]]) -> None:
        """Check that each table is there with these columns.

        Raises:
            CommandError: this is not the schema of that system.
        """
        for table, columns in tables.items():
            found: set[str] = set()
            for conn in self._connections:
                found = {name for name, _ in fetch_all(conn, _TYPES, {"table": table}, lambda *row: row)}
                if found.issuperset(columns):
                    self._places[table] = conn
                    break
            else:
                missing = ", ".join(sorted(set(columns) - found)) if found else "the table itself"
                message = f"this is no database of {system}: of table {table} it lacks {missing}"
                raise CommandError(message)

    def count(self, table: str, statement: Statement) -> int:
        """Return the one number that a statement over this table finds."""
        [number] = fetch_all(self._places[table], statement, {}, int)
        return number

    def chunks(self, table: str, statement: LiteralString) -> Iterator[list[Row]]:
        """Return the rows of a SELECT over this table, CHUNK_ROWS at a time."""
        with self._places[table].cursor(name="import") as cursor:
            cursor.execute(statement)
            while rows := _fetched(table, cursor):
                yield rows


class Times:
    """Converts the times of another system to instants."""

    def __init__(self, zone: tzinfo, now: datetime) -> None:
        """`zone` is that of times without one."""
        self._zone = zone
        # None: it changes.
        self._offset = zone.utcoffset(None)
        self.now = now
        self._latest = now + _AHEAD_MAX

    def instant(self, at: datetime | None) -> datetime | None:
        """Return the instant; None where there is none, or where it is out of range.

        A local time that a change of clocks skips or repeats is read with the offset before the change.
        """
        if at is None:
            return None
        if at.tzinfo is None:
            at = at.replace(tzinfo=self._zone)
        try:
            at = at.astimezone(UTC)
        except OverflowError:
            return None
        return at if EARLIEST <= at <= self._latest else None

    def instants(self, times: Sequence[datetime | None]) -> list[datetime]:
        """Return the instants of a column. Raises ValueError: `instant` is None for one of them."""
        try:
            instants = self._converted(times)
        except (AttributeError, TypeError, OverflowError):
            raise ValueError(NO_TIME) from None
        if min(instants) < EARLIEST or max(instants) > self._latest:
            raise ValueError(NO_TIME)
        return instants

    def _converted(self, times: Sequence[Any]) -> list[datetime]:
        """Raises AttributeError, TypeError: there is none. OverflowError: it is out of range."""
        if times[0].tzinfo is not None:
            return [at.astimezone(UTC) for at in times]
        if self._offset is None:
            return [at.replace(tzinfo=self._zone).astimezone(UTC) for at in times]
        # A sixth of the time of `replace`.
        earliest = EARLIEST - self._offset
        return [earliest + (at - _EARLIEST_LOCAL) for at in times]


def _fetched(table: str, cursor: Any) -> list[Row]:  # noqa: ANN401 - psycopg2's cursor has no types
    try:
        rows: list[Row] = cursor.fetchmany(CHUNK_ROWS)
    except (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter) as error:
        # A database without an encoding (SQL_ASCII) holds whatever its clients sent.
        message = f"table {table} holds text that is not UTF-8; what is stored stays"
        raise CommandError(message) from error
    return rows


def _connect(url: str) -> Connection:
    place = _parsed(url)
    parameters = CONNECTION_PARAMETERS | {"connect_timeout": _CONNECT_SECONDS_MAX}
    options = " ".join(filter(None, [place.get("options"), _SESSION]))
    try:
        conn = opened(psycopg2.connect(make_dsn(url, application_name="import", **parameters | {"options": options})))
    except psycopg2.OperationalError as error:
        lines = str(error).strip().splitlines() or ["it does not answer"]
        message = f"the source cannot be read: {lines[0]}"
        raise CommandError(message) from error
    conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
    return conn


def _parsed(url: str) -> dict[str, str]:
    with suppress(psycopg2.ProgrammingError):  # its message repeats the URL, and with it the password
        if url.startswith(("postgresql://", "postgres://")):
            place: dict[str, str] = parse_dsn(url)
            return place
    raise CommandError("the source is not a PostgreSQL connection URL (postgresql://user:password@host:port/name)")
