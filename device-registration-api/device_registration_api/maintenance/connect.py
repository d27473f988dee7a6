"""Where databases are, and connections for one command, with timeouts that fit long statements."""

from collections.abc import Sequence

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr, ValidationError

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.connection_string import SessionTimeouts, dsn
from servicekit.database.interruption import opened
from servicekit.database.pool import Database
from servicekit.database.prepared import Prepared

_WAIT_SECONDS_MAX = 5.0
# The parts of a place, and what libpq calls them.
_PARTS = {"host": "host", "port": "port", "name": "dbname"}


def place_of(url: SecretStr | None, setting: str, user: str, password: SecretStr, **beside: object) -> DatabaseSettings:
    """Return the place that a URL names, for this login; what the URL leaves out is as in `beside`.

    The URL may be the administrator's: only its place is used.

    Raises:
        CommandError: it is no URL, or it leaves out what `beside` does not have; `setting` is its name.
    """
    try:
        named = {} if url is None else parse_dsn(url.get_secret_value())
        place = {f"db_{part}": named[key] for part, key in _PARTS.items() if key in named}
        return DatabaseSettings.model_validate(beside | place | {"db_user": user, "db_password": password})
    except (psycopg2.ProgrammingError, ValidationError) as error:
        # The driver's message repeats the URL.
        message = f"{setting} is not a PostgreSQL connection URL (postgresql://host/name)"
        raise CommandError(message) from error


def connect(settings: DatabaseSettings, *, statement_seconds_max: int) -> Connection:
    """Connect as the private service. Raises psycopg2.OperationalError when the server cannot be reached."""
    return opened(psycopg2.connect(conninfo(settings, statement_seconds_max)))


def pool(
    settings: DatabaseSettings,
    *,
    statement_seconds_max: int,
    prepare: Sequence[Prepared] = (),
    connections_max: int = 1,
) -> Database:
    """Return a pool of such connections, for work that is written for a pool. It connects at its first use."""
    return Database(
        conninfo(settings, statement_seconds_max),
        connections_max=connections_max,
        wait_seconds_max=_WAIT_SECONDS_MAX,
        prepare=prepare,
    )


def conninfo(settings: DatabaseSettings, statement_seconds_max: float, application: str = "maintenance") -> str:
    """Return the connection string of such a connection. It contains the password."""
    timeouts = SessionTimeouts(statement_seconds=statement_seconds_max, lock_seconds=2, idle_in_transaction_seconds=10)
    return dsn(
        host=settings.db_host,
        port=settings.db_port,
        name=settings.db_name,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
        application=application,
        timeouts=timeouts,
    )
