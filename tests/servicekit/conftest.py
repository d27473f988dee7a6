"""What the plumbing is tested on: a real database with one small table, and a small service in its own process."""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from local.database import base_environment
from local.ports import free_port
from local.services import Child, Spawn
from servicekit.concurrency.concurrency_limit import AdaptiveConcurrencyLimit, concurrency_limit
from servicekit.database import Connection as Session
from servicekit.database.connection_string import dsn
from servicekit.database.pool import Database
from servicekit.database.prepared import Prepared
from servicekit.process.request_log import WRITE_SECONDS
from tests.prepared_process import SMALL, Preparation
from tests.servers import Cluster
from tests.servicekit.raw_http import Connection

OK = 200

# A deadline that no test reaches, in seconds.
LONG = 10.0


class MakeDatabase(Protocol):
    """Makes a `Database`, closed after the test; `other` are libpq's parameters."""

    def __call__(
        self,
        *,
        connections_max: int = 2,
        wait_seconds_max: float = 0.2,
        read_only: bool = False,
        prepare: Sequence[Prepared] = (),
        **other: str | int,
    ) -> Database: ...


def execute(conn: Session, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Run one statement in the connection's transaction."""
    with conn.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []


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
    def session(self) -> Iterator[Session]:
        """Somebody else's connection."""
        with closing(psycopg2.connect(self.admin_url)) as conn:
            yield conn

    def execute(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        """Run and commit one statement of the administrator's."""
        with self.session() as conn:
            rows = execute(conn, statement, *parameters)
            conn.commit()
        return rows

    def rows(self) -> list[tuple[object, ...]]:
        return self.execute("SELECT id, n FROM probe ORDER BY id")


@pytest.fixture(autouse=True)
def nothing_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is state of the process: what one test configures or leaves in flight must not reach the next."""
    for name, value in vars(AdaptiveConcurrencyLimit()).items():
        monkeypatch.setattr(concurrency_limit, name, value)


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
    with ExitStack() as undo:

        def make(
            *,
            connections_max: int = 2,
            wait_seconds_max: float = 0.2,
            read_only: bool = False,
            prepare: Sequence[Prepared] = (),
            **other: str | int,
        ) -> Database:
            database = Database(
                probe.dsn(**other),
                connections_max=connections_max,
                wait_seconds_max=wait_seconds_max,
                read_only=read_only,
                prepare=prepare,
            )
            undo.callback(database.close)
            return database

        yield make


class SmallService:
    """`small_service` as a process of its own."""

    def __init__(self, spawn: Spawn, log: Path, **env: str) -> None:
        self.port = free_port()
        self.log = log
        self.refused = 0  # requests of `one_in_flight` that were refused
        self.child = Child(
            "small",
            [sys.executable, "-m", "tests.servicekit.small_service"],
            base_environment() | {"PORT": str(self.port)} | env,
            log=log,
        )
        self.child.start_by(spawn)
        self.child.start()
        while not self._listens():
            assert self.child.pid is not None, log.read_text()
            time.sleep(0.02)

    def connect(self) -> Connection:
        return Connection(self.port)

    @contextmanager
    def one_in_flight(self) -> Iterator[None]:
        """A request that is certainly in flight, and afterwards certainly is not."""
        while True:  # what an earlier request left behind may still be ending
            with self.connect() as connection:
                connection.send(b"GET /held HTTP/1.1\r\nhost: test\r\n\r\n")
                if connection.head() == OK:
                    yield
                    break
                self.refused += 1
        while not self._answers():  # each time on a connection of its own: after a refusal, one is not read
            time.sleep(0.01)

    def lines(self) -> list[str]:
        """What it has logged, after the moment that lines are gathered for."""
        time.sleep(10 * WRITE_SECONDS)
        return self.log.read_text().splitlines()

    def _answers(self) -> bool:
        with self.connect() as connection:
            answers = connection.ask("GET", "/plain").status == OK
        self.refused += not answers
        return answers

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class StartSmall(Protocol):
    """Starts a small service with settings in its environment; it is stopped at the end of the module."""

    def __call__(self, **env: str) -> SmallService: ...


@pytest.fixture(scope="module")
def start_small(preparations: dict[str, Preparation], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartSmall]:
    started: list[SmallService] = []

    def start(**env: str) -> SmallService:
        started.append(SmallService(preparations[SMALL].spawn, tmp_path_factory.mktemp("small") / "log", **env))
        return started[-1]

    yield start
    for each in started:
        each.child.stop()
