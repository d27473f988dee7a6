"""Two real databases with the pools, the keys and the people of a test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from device_registration_api.personal.blind_index import BlindIndex
from device_registration_api.personal.keeper import Keeper
from device_registration_api.personal.keys import NumberedKeys
from device_registration_api.personal.people import People
from servicekit.database.connection_string import dsn
from servicekit.database.pool import Database
from tests.personal_databases import key_list
from tests.schema.schema_steps import PERSONAL_LOGIN, rows
from tests.servers import Cluster


@dataclass
class Apart:
    """The two databases of one test."""

    cluster: Cluster
    name: str
    pools: list[Database] = field(default_factory=list)

    def rows(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement as the administrator in `personal` or `keyring`."""
        return rows(self.cluster.admin_url(f"{self.name}_{database}"), statement)

    def dsn(self, database: str) -> str:
        return dsn(
            host=self.cluster.host,
            port=self.cluster.port,
            name=f"{self.name}_{database}",
            user=PERSONAL_LOGIN["PERSONAL_DB_USER"],
            password=PERSONAL_LOGIN["PERSONAL_DB_PASSWORD"],
            application="test",
        )

    def people(
        self, *, keks: str = key_list(1), index: str = key_list(1), personal: str = "personal", keyring: str = "keyring"
    ) -> People:
        first, second = (
            Database(self.dsn(each), connections_max=4, wait_seconds_max=5.0) for each in (personal, keyring)
        )
        self.pools += [first, second]
        return People(first, second, Keeper(NumberedKeys(keks)), BlindIndex(NumberedKeys(index)))


@pytest.fixture
def apart(cluster: Cluster, apart_template: str) -> Iterator[Apart]:
    """The databases of the session, without a row."""
    made = Apart(cluster, apart_template)
    made.rows("personal", "TRUNCATE person, person_index, account, registration_key, creation_key")
    made.rows("keyring", "TRUNCATE person_key, key_epoch, daily_pepper")
    yield made
    for pool in made.pools:
        pool.close()
