"""One connection for one command, with the private service's login and timeouts that fit long statements."""

import psycopg2

from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from servicekit.database.connection_string import SessionTimeouts, dsn


def connect(settings: DatabaseSettings, *, statement_seconds_max: int) -> Connection:
    """Connect as the private service. Raises psycopg2.OperationalError when the server cannot be reached."""
    timeouts = SessionTimeouts(statement_seconds=statement_seconds_max, lock_seconds=2, idle_in_transaction_seconds=10)
    return psycopg2.connect(
        dsn(
            host=settings.db_host,
            port=settings.db_port,
            name=settings.db_name,
            user=settings.db_user,
            password=settings.db_password.get_secret_value(),
            application="maintenance",
            timeouts=timeouts,
        )
    )
