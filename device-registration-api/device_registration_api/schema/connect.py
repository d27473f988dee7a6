"""The administrator's connections, and what every command refuses before it changes anything."""

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extensions import make_dsn, parse_dsn

OLDEST_SERVER_VERSION = 160000
LOCK_WAIT_SECONDS_MAX = 60

# Sources: libpq's connection parameters; seconds, tcp_user_timeout in milliseconds.
_BOUNDS = {
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 8000,
    "application_name": "migrate",
}


class Refused(Exception):
    """The command cannot do what it was asked; the message is one sentence for the operator."""


def database_name(url: str) -> str:
    """The database that an administrator's URL names. Raises Refused when it is no URL or names none."""
    try:
        name = parse_dsn(url).get("dbname")
    except psycopg2.ProgrammingError as error:
        # The driver's message repeats the URL, and with it the password.
        raise Refused(
            "DATABASE_URL is not a PostgreSQL connection URL (postgresql://user:password@host/name)"
        ) from error
    if not name:
        raise Refused("DATABASE_URL names no database (postgresql://user:password@host/name)")
    return str(name)


def connect(url: str, database: str | None = None) -> Connection:
    """Connect as the administrator, to another database of the same server if one is named.

    Raises:
        Refused: the server is older than PostgreSQL 16.
        psycopg2.OperationalError: it cannot be reached, or refuses the login.
    """
    named = {} if database is None else {"dbname": database}
    conn = psycopg2.connect(make_dsn(url, **_BOUNDS, **named))
    if conn.server_version < OLDEST_SERVER_VERSION:
        found = conn.info.parameter_status("server_version")
        conn.close()
        raise Refused(f"PostgreSQL 16 or newer is needed, and this server is {found}")
    with conn, conn.cursor() as cur:
        cur.execute(
            "SELECT set_config('lock_timeout', %(milliseconds)s, false), set_config('TimeZone', 'UTC', false)",
            {"milliseconds": str(LOCK_WAIT_SECONDS_MAX * 1000)},
        )
    return conn
