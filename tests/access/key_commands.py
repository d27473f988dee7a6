"""The private service's connection for commands, on a test's database."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pydantic import SecretStr

from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.settings import DatabaseSettings
from servicekit.database import Connection
from tests.servers import MigratedDatabase


@contextmanager
def connected(database: MigratedDatabase) -> Iterator[Connection]:
    """A connection of the writer."""
    env = database.writer_env
    settings = DatabaseSettings(
        db_host=env["DB_HOST"],
        db_port=int(env["DB_PORT"]),
        db_name=env["DB_NAME"],
        db_user=env["DB_USER"],
        db_password=SecretStr(env["DB_PASSWORD"]),
    )
    with closing(connect(settings, statement_seconds_max=10)) as conn:
        yield conn
