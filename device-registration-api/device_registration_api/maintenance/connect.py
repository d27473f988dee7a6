"""One connection for one command, with the private service's login and timeouts that fit long statements."""

from collections.abc import Sequence

import psycopg2

from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from servicekit.database.connection_string import SessionTimeouts, dsn
from servicekit.database.pool import Database
from servicekit.database.prepared import Prepared

_WAIT_SECONDS_MAX = 5.0


def connect(settings: DatabaseSettings, *, statement_seconds_max: int) -> Connection:
    """Connect as the private service. Raises psycopg2.OperationalError when the server cannot be reached."""
    return psycopg2.connect(_conninfo(settings, statement_seconds_max))


def pool(settings: DatabaseSettings, *, statement_seconds_max: int, prepare: Sequence[Prepared] = ()) -> Database:
    """Return a pool of one such connection, for work that is written for a pool. It connects at its first use."""
    return Database(
        _conninfo(settings, statement_seconds_max),
        connections_max=1,
        wait_seconds_max=_WAIT_SECONDS_MAX,
        prepare=prepare,
    )


def _conninfo(settings: DatabaseSettings, statement_seconds_max: int) -> str:
    timeouts = SessionTimeouts(statement_seconds=statement_seconds_max, lock_seconds=2, idle_in_transaction_seconds=10)
    return dsn(
        host=settings.db_host,
        port=settings.db_port,
        name=settings.db_name,
        user=settings.db_user,
        password=settings.db_password.get_secret_value(),
        application="maintenance",
        timeouts=timeouts,
    )
