"""Connections to the database of the inbox."""

from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.maintenance.connect import connect, place_of
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.schema.connect import CommandError
from servicekit.database import Connection
from servicekit.database.connection_string import SERVICE_TIMEOUTS, dsn
from servicekit.database.pool import Database

# One for each kind of event that is stored at the same time, one that drains, and one for metrics.
CONNECTIONS_MAX = 6
_WAIT_SECONDS_MAX = 2.0
# A step of the drain waits for the first database in a transaction of the inbox.
IDLE_IN_TRANSACTION_SECONDS = 10.0


def place_of_inbox(settings: InboxSettings) -> DatabaseSettings | None:
    """Return where the inbox is, or None where the operator has not configured one.

    Raises:
        CommandError: the URL is invalid, or names no host or no database.
    """
    if settings.inbox_database_url is None or settings.inbox_db_user is None or settings.inbox_db_password is None:
        return None
    return place_of(
        settings.inbox_database_url, "INBOX_DATABASE_URL", settings.inbox_db_user, settings.inbox_db_password
    )


def pool_of_inbox(settings: InboxSettings, application: str) -> Database | None:
    """Return a pool, which connects at its first use, or None where there is no inbox. Raises as `place_of_inbox`."""
    place = place_of_inbox(settings)
    if place is None:
        return None
    conninfo = dsn(
        host=place.db_host,
        port=place.db_port,
        name=place.db_name,
        user=place.db_user,
        password=place.db_password.get_secret_value(),
        application=application,
        timeouts=SERVICE_TIMEOUTS._replace(idle_in_transaction_seconds=IDLE_IN_TRANSACTION_SECONDS),
    )
    return Database(conninfo, connections_max=CONNECTIONS_MAX, wait_seconds_max=_WAIT_SECONDS_MAX)


def connect_to_inbox(settings: InboxSettings, *, statement_seconds_max: int) -> Connection:
    """Open one connection of a command.

    Raises:
        CommandError: there is no inbox, or its URL is invalid.
        psycopg2.OperationalError: the server cannot be reached, or refuses the login.
    """
    place = place_of_inbox(settings)
    if place is None:
        raise CommandError("set INBOX_DATABASE_URL in the environment: without it there is no inbox")
    return connect(place, statement_seconds_max=statement_seconds_max)
