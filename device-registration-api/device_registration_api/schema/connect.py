"""The administrator's connections, with the checks that every command makes before it changes anything."""

import time
from collections.abc import Callable
from typing import LiteralString

import psycopg2
from psycopg2 import errors
from psycopg2.extensions import make_dsn, parse_dsn

from servicekit.database import Connection
from servicekit.database.connection_string import CONNECTION_PARAMETERS
from servicekit.database.interruption import opened
from servicekit.database.sql import fetch_all

OLDEST_SERVER_VERSION = 160000
NAME_BYTES_MAX = 63
# The time to wait for another migrate. The time to wait for a table lock is much shorter, because later transactions on
# the table wait for as long as migrate does.
LOCK_WAIT_SECONDS_MAX = 60.0
TABLE_LOCK_WAIT_SECONDS_MAX = 5.0

SESSION_SETTINGS = "SELECT set_config('timezone', 'UTC', false)"
SET_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', %(milliseconds)s, false)"
SESSION_LOCK = "SELECT pg_advisory_lock(%(lock)s)"
TRANSACTION_LOCK = "SELECT pg_advisory_xact_lock(%(lock)s)"

WAIT_STEP_SECONDS = 1.0
# The errors of a server that starts, stops, recovers or has no free connection slot.
_TEMPORARY_ANSWERS = ("the database system is ", "too many ", "remaining connection slots")
# Every other error of a server is permanent, and so is an error in the URL, the password or TLS.
_PERMANENT = ("FATAL:", "password", "authentication", "certificate", "SSL", "invalid ")


class CommandError(Exception):
    """The command cannot do its work; the message is one sentence for the operator."""


def database_name(url: str) -> str:
    """Return the database name of an administrator's URL. Raises CommandError if the URL is invalid or has none."""
    try:
        name = parse_dsn(url).get("dbname")
    except psycopg2.ProgrammingError as error:
        # The driver's message repeats the URL, and with it the password.
        raise CommandError(
            "DATABASE_URL is not a PostgreSQL connection URL (postgresql://user:password@host/name)"
        ) from error
    if not name:
        raise CommandError("DATABASE_URL names no database (postgresql://user:password@host/name)")
    if len(str(name).encode()) > NAME_BYTES_MAX:
        # PostgreSQL would cut it, and two cut names can be the same one.
        message = f"a database's name has at most {NAME_BYTES_MAX} bytes; {name!r} is longer"
        raise CommandError(message)
    return str(name)


def connect(url: str, database: str | None = None) -> Connection:
    """Connect as the administrator, to another database of the same server if one is named.

    Raises:
        CommandError: the server is older than OLDEST_SERVER_VERSION.
        psycopg2.OperationalError: the server cannot be reached, or refuses the login.
    """
    named = {} if database is None else {"dbname": database}
    conn = opened(psycopg2.connect(make_dsn(url, application_name="migrate", **CONNECTION_PARAMETERS, **named)))
    if conn.server_version < OLDEST_SERVER_VERSION:
        found = conn.info.parameter_status("server_version")
        conn.close()
        oldest = OLDEST_SERVER_VERSION // 10_000
        raise CommandError(f"PostgreSQL {oldest} or newer is needed, and this server is {found}")
    with conn:
        fetch_all(conn, SESSION_SETTINGS, {}, str)
    return conn


def connect_when_ready(url: str, database: str, seconds_max: float, say: Callable[[str], None]) -> Connection:
    """Connect as `connect` does, and wait up to `seconds_max` for a server that is absent, starting or full.

    It reports once what it waits for. A permanent error (a wrong password, TLS) is raised at once.

    Raises:
        CommandError: the server is older than PostgreSQL 16.
        psycopg2.OperationalError: it cannot be reached in time, or refuses the login.
    """
    deadline = time.monotonic() + seconds_max
    waiting = False
    while True:
        try:
            return connect(url, database)
        except psycopg2.OperationalError as error:
            if not _is_temporary(str(error)) or time.monotonic() + WAIT_STEP_SECONDS > deadline:
                raise
            if not waiting:
                say(f"waiting for the database, up to {seconds_max:g} seconds: {str(error).strip().splitlines()[0]}")
                waiting = True
        time.sleep(WAIT_STEP_SECONDS)


def _is_temporary(message: str) -> bool:
    """Whether a later attempt may succeed. For a connection error, the driver has no code, only a message."""
    if any(words in message for words in _TEMPORARY_ANSWERS):
        return True
    return not any(words in message for words in _PERMANENT)


def acquire_lock(conn: Connection, lock_statement: LiteralString, lock: int) -> None:
    """Acquire an advisory lock, which is held until the session or the transaction ends; one migrate holds it.

    Raises CommandError when another one has been at work for LOCK_WAIT_SECONDS_MAX.
    """
    _limit_lock_wait(conn, LOCK_WAIT_SECONDS_MAX)
    try:
        fetch_all(conn, lock_statement, {"lock": lock}, str)
    except errors.LockNotAvailable as error:
        raise CommandError(
            f"another migrate is still at work after {LOCK_WAIT_SECONDS_MAX:g} seconds; try later"
        ) from error
    _limit_lock_wait(conn, TABLE_LOCK_WAIT_SECONDS_MAX)


def _limit_lock_wait(conn: Connection, seconds: float) -> None:
    fetch_all(conn, SET_LOCK_TIMEOUT, {"milliseconds": f"{seconds * 1000:.0f}"}, str)
