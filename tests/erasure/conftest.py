"""Persons with events and personal data in three real databases. API requests stand for any kind that names persons."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg2
import pytest
from pydantic import JsonValue

from device_registration_api.erasure.commands import Erasure
from device_registration_api.erasure.job import Erasures
from device_registration_api.personal.blind_index import IndexedField
from device_registration_api.personal.erasing import PersonEraser
from servicekit.database.pool import Database
from tests.database import dsn_of, leave
from tests.erasure.people import apart_dsns, people_of
from tests.events.test_presences import Writer, rows_of
from tests.maintenance.rounds import as_administrator, verify
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, MigratedDatabase

PROJECT = 1
SECONDS = 20.0
# Every figure of events that a client can ask for is made of these rows.
PUBLISHED = [
    "api_request_day",
    "api_request_quarter_hour",
    "api_request_minute",
    "api_request_endpoint_day",
    "api_request_endpoint_quarter_hour",
    "api_request_distinct",
]
INSERT_PERSON = "INSERT INTO project_person (project_id, person_id) VALUES (%(project)s, %(person)s)"
LEFT = (
    "SELECT count(*) FROM api_request WHERE project_id = %(project)s AND consumer = %(person)s",
    """
    SELECT (SELECT count(*) FROM person WHERE project_id = %(project)s AND person_id = %(person)s)
           + (SELECT count(*) FROM person_index WHERE project_id = %(project)s AND person_id = %(person)s)
    """,
    "SELECT count(*) FROM person_key WHERE project_id = %(project)s AND person_id = %(person)s",
)
NAMES_PERSONS = """
    SET ROLE stats_owner;
    UPDATE maintenance.fact_table SET person_column = 'consumer' WHERE fact = 'api_request';
    CREATE TABLE api_request_distinct_retired (
        project_id int NOT NULL, segment int NOT NULL, day date NOT NULL, previous_day date NOT NULL,
        present_count bigint NOT NULL, PRIMARY KEY (project_id, segment, day, previous_day)
    );
    GRANT SELECT ON api_request_distinct_retired TO registration_writer;
"""


@dataclass
class World:
    """Three databases, the writer of a kind, and the job."""

    cluster: Cluster
    database: MigratedDatabase
    personal: PersonalDatabases
    writer: Writer
    pools: list[Database] = field(default_factory=list)

    def pool(self, conninfo: str) -> Database:
        made = Database(conninfo, connections_max=4, wait_seconds_max=5.0)
        self.pools.append(made)
        return made

    @property
    def apart(self) -> tuple[str, str]:
        """The names of the databases of personal data."""
        return self.personal.personal, self.personal.keyring

    @property
    def dsns(self) -> list[str]:
        """Of the first database, `personal` and `keyring`, with the logins of the private service."""
        return [dsn_of(self.database.writer_env), *apart_dsns(self.personal)]

    @property
    def environment(self) -> dict[str, str]:
        """What the private service's commands read."""
        return {**self.database.writer_env, **self.personal.environment}

    def in_keyring(self, statement: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """Run a statement of the administrator."""
        url = self.cluster.admin_url(self.personal.keyring)
        with closing(psycopg2.connect(url)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def erasures(self, **absent: str) -> Erasures:
        """The job of one process; a database that is named in `absent` has that name, and is not there."""
        names = dict(zip(("first", "personal", "keyring"), self.dsns, strict=True))
        for which, name in absent.items():
            names[which] += f" dbname={name}"
        first, personal, keyring = map(self.pool, names.values())
        return Erasures(first, PersonEraser(personal, keyring))

    def person(self, email: str | None = None) -> UUID:
        """A new person of the project, who can be found by e-mail address."""
        fields: dict[str, JsonValue] = {"email": email or f"{uuid4()}@example.org"}
        with people_of(self.personal) as people:
            found = asyncio.run(people.create(PROJECT, fields, [IndexedField.EMAIL], SECONDS))
        as_administrator(self.database, INSERT_PERSON, project=PROJECT, person=str(found))
        return found

    def record(self, *events: tuple[UUID | None, datetime], project: int = PROJECT) -> None:
        """Store events in one transaction, with everything that is counted."""
        self.writer.write_rows(rows_of(project, [(None if who is None else str(who), at) for who, at in events]))

    def person_with_events(self, days: Sequence[int] = (0, 1, 5)) -> UUID:
        found = self.person()
        self.record(*((found, at) for at in self.days(*days)))
        return found

    @staticmethod
    def days(*ago: int) -> list[datetime]:
        """So many days ago."""
        return [NOW - timedelta(days=each) for each in ago]

    def erase(self, person_id: UUID, project: int = PROJECT) -> Erasure:
        return asyncio.run(self.erasures().erase(project, person_id, time.monotonic() + SECONDS))

    def published(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every figure, apart from the slots that it is counted in."""
        return {
            table: as_administrator(self.database, f"SELECT * FROM {table} ORDER BY {table}::text")  # noqa: S608
            for table in PUBLISHED
        }

    def left(self, person_id: UUID) -> list[int]:
        """The rows of a person: events, in `personal`, in `keyring`."""
        places = zip((self.database.admin_url, *map(self.cluster.admin_url, self.apart)), LEFT, strict=True)
        found = []
        for url, statement in places:
            with closing(psycopg2.connect(url)) as conn, conn.cursor() as cursor:
                cursor.execute(statement, {"project": PROJECT, "person": str(person_id)})
                found += [int(count) for (count,) in cursor.fetchall()]
        return found

    def assert_exact(self) -> None:
        assert verify(self.database).drifts == []

    @property
    def database_name(self) -> str:
        """The name of the first database."""
        return self.database.writer_env["DB_NAME"]

    def close_connections(self) -> None:
        """Leave the databases alone, so that they can be copied."""
        leave()
        self.close_pools()
        self.writer.database.close_idle()

    def close_pools(self) -> None:
        while self.pools:
            self.pools.pop().close()


NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def module_world(cluster: Cluster, template: str, personal_databases: PersonalDatabases) -> Iterator[World]:
    with cluster.new_database(template) as name:
        database = MigratedDatabase(cluster.admin_url(name))
        as_administrator(database, NAMES_PERSONS)
        writer = Writer(database, 0)
        yield World(cluster, database, personal_databases, writer)
        writer.database.close()


@pytest.fixture
def world(module_world: World) -> Iterator[World]:
    """The databases of the module, in which every person is new."""
    yield module_world
    module_world.close_pools()
