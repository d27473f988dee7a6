"""The spine, called as the service calls it, on a database that has the tables of every tested kind."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

import psycopg2
import pytest
from psycopg2 import sql

from device_registration_api.events import idempotency
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from tests.database import dsn_of
from tests.events.kinds import KINDS, KindUnderTest
from tests.servers import Cluster, MigratedDatabase

Result = TypeVar("Result")


class Spine:
    """Runs work of the writer on its own connections, and reads what is stored as the administrator."""

    def __init__(self, migrated: MigratedDatabase, kinds: Sequence[KindUnderTest] = KINDS) -> None:
        self.migrated = migrated
        self.dsn = dsn_of(migrated.writer_env)
        prepared = [statement for kind in kinds for statement in kind.table.prepared()]
        self.database = Database(
            self.dsn, connections_max=2, wait_seconds_max=1.0, prepare=[*idempotency.PREPARED, *prepared]
        )
        self._projects = iter(range(1_000, 2**31))

    def new_project(self) -> int:
        """A project that has no events yet."""
        return next(self._projects)

    def run(self, work: Callable[[Lease], Result]) -> Result:
        """Run work with a lease that does not expire."""
        return work(Lease(self.database))

    def rows(self, statement: str | sql.Composable, **parameters: object) -> list[tuple[object, ...]]:
        """Run one statement of the administrator's."""
        with closing(psycopg2.connect(self.migrated.admin_url)) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            cursor.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def spine(cluster: Cluster, template: str) -> Iterator[Spine]:
    with cluster.new_database(template) as name:
        spine = Spine(MigratedDatabase(cluster.admin_url(name)))
        for kind in KINDS:
            spine.rows(kind.schema)
        yield spine
        spine.database.close()
