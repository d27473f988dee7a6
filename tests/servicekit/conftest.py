"""A real database for the plumbing: one small table, and the product's own connection string."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class
from psycopg2.extensions import make_dsn, parse_dsn
from servicekit.database import Database, dsn

from tests.servers import Cluster

MakeDatabase = Callable[..., Database]


class Probe:
    """A database with the table `probe (id, n)`, seen by its administrator."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self.parts: dict[str, str] = parse_dsn(admin_url)
        self.execute("CREATE TABLE probe (id integer PRIMARY KEY, n smallint NOT NULL DEFAULT 0)")

    def dsn(self, **other: str | int) -> str:
        """As a service connects."""
        made = dsn(
            host=self.parts["host"],
            port=int(self.parts["port"]),
            name=self.parts["dbname"],
            user=self.parts["user"],
            password=self.parts.get("password", ""),
            application="probe",
        )
        return str(make_dsn(made, **other))

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Somebody else's connection."""
        with closing(psycopg2.connect(self.admin_url)) as conn:
            yield conn

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run and commit one statement of the administrator's."""
        with self.session() as conn, conn.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            rows = cursor.fetchall() if cursor.description else []
            conn.commit()
        return rows

    def rows(self) -> list[tuple[object, ...]]:
        return self.execute("SELECT id, n FROM probe ORDER BY id")


@pytest.fixture(scope="module")
def probe_database(cluster: Cluster) -> Iterator[Probe]:
    with cluster.new_database() as name:
        yield Probe(cluster.admin_url(name))


@pytest.fixture
def probe(probe_database: Probe) -> Probe:
    """Empty for each test."""
    probe_database.execute("TRUNCATE probe")
    return probe_database


@pytest.fixture
def make_database(probe: Probe) -> Iterator[MakeDatabase]:
    """A function that makes a `Database`, closed after the test."""
    with ExitStack() as undo:

        def make(
            *, connections_max: int = 2, wait_seconds_max: float = 0.2, read_only: bool = False, **other: str | int
        ) -> Database:
            database = Database(
                probe.dsn(**other),
                connections_max=connections_max,
                wait_seconds_max=wait_seconds_max,
                read_only=read_only,
            )
            undo.callback(database.close)
            return database

        yield make
