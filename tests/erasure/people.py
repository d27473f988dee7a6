"""People in the databases of a product, for tests that need one without a route."""

from collections.abc import Iterator
from contextlib import contextmanager

from device_registration_api.personal.blind_index import BlindIndex
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.personal.people import People
from servicekit.database.connection_string import dsn
from servicekit.database.pool import Database
from tests.personal_databases import PersonalDatabases, key_list
from tests.schema.schema_steps import PERSONAL_LOGIN


def apart_dsns(databases: PersonalDatabases) -> list[str]:
    """Of `personal` and `keyring`, with the login of personal data."""
    return [
        dsn(
            host=databases.cluster.host,
            port=databases.cluster.port,
            name=name,
            user=PERSONAL_LOGIN["PERSONAL_DB_USER"],
            password=PERSONAL_LOGIN["PERSONAL_DB_PASSWORD"],
            application="test",
        )
        for name in (databases.personal, databases.keyring)
    ]


@contextmanager
def people_of(databases: PersonalDatabases, keks: str = key_list(1)) -> Iterator[People]:
    """People with the keys of the product, until the end of the block."""
    pools = [Database(each, connections_max=2, wait_seconds_max=5.0) for each in apart_dsns(databases)]
    try:
        personal, keyring = pools
        yield People(personal, keyring, Keeper(NumberedKeys(keks)), BlindIndex(NumberedKeys(key_list(2))))
    finally:
        for pool in pools:
            pool.close()
