"""Where `personal` and `keyring` are, with the login of personal data."""

from device_registration_api.maintenance.connect import connect, place_of
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.schema.connect import CommandError
from device_registration_api.schema.schemas import KEYRING, Schema, named_beside
from servicekit.database import Connection
from servicekit.database.connection_string import dsn
from servicekit.database.pool import Database

# Requests for personal data are rare beside events: few connections for each process and each of the two databases.
CONNECTIONS_MAX = 2
_WAIT_SECONDS_MAX = 2.0


def place_apart(schema: Schema, database: DatabaseSettings, settings: KeyringSettings) -> DatabaseSettings:
    """Return the place that the schema's URL names, or else the one beside the first database.

    Raises:
        CommandError: there is no login of personal data, or the URL is invalid.
    """
    if settings.personal_db_user is None or settings.personal_db_password is None:
        raise CommandError("set PERSONAL_DB_USER and PERSONAL_DB_PASSWORD in the environment")
    url = settings.keyring_database_url if schema is KEYRING else settings.personal_database_url
    return place_of(
        url,
        f"{schema.name.upper()}_DATABASE_URL",
        settings.personal_db_user,
        settings.personal_db_password,
        db_host=database.db_host,
        db_port=database.db_port,
        db_name=named_beside(database.db_name, schema),
    )


def connect_apart(
    schema: Schema, database: DatabaseSettings, settings: KeyringSettings, *, statement_seconds_max: int
) -> Connection:
    """Open one connection of a command.

    Raises:
        CommandError: as `place_apart`.
        psycopg2.OperationalError: the server cannot be reached, or refuses the login.
    """
    return connect(place_apart(schema, database, settings), statement_seconds_max=statement_seconds_max)


def pool_apart(
    schema: Schema,
    database: DatabaseSettings,
    settings: KeyringSettings,
    application: str,
    *,
    connections_max: int = CONNECTIONS_MAX,
    wait_seconds_max: float = _WAIT_SECONDS_MAX,
) -> Database:
    """Return a pool of one of the two databases; it connects at its first use. Raises as `place_apart`."""
    place = place_apart(schema, database, settings)
    conninfo = dsn(
        host=place.db_host,
        port=place.db_port,
        name=place.db_name,
        user=place.db_user,
        password=place.db_password.get_secret_value(),
        application=application,
    )
    return Database(conninfo, connections_max=connections_max, wait_seconds_max=wait_seconds_max)
