"""The database of the inbox is on another server, and its login may use one table of it."""

from collections.abc import Iterator

import psycopg2
import pytest
from psycopg2 import errors

from device_registration_api.schema import migrations
from device_registration_api.schema.schemas import INBOX
from tests.schema.schema_steps import INBOX_LOGIN as LOGIN
from tests.schema.schema_steps import LOGINS, dump, migrate, rows, run, upgrade_to
from tests.servers import Cluster


@pytest.fixture
def inbox_url(postgres16: Cluster) -> Iterator[str]:
    """An empty database on another server, of the oldest version."""
    with postgres16.new_database() as name:
        yield postgres16.admin_url(name)


def test_migrate_makes_it_on_its_own_server_and_a_second_changes_nothing(fresh_database: str, inbox_url: str) -> None:
    settings = LOGINS | LOGIN | {"INBOX_DATABASE_URL": inbox_url}
    assert len(migrate(fresh_database, settings).splitlines()) == 3  # with the one about personal data
    second = migrate(fresh_database, settings)
    assert [line.endswith("already") for line in second.splitlines()] == [True, True, False], second
    newest = migrations.newest_revision(INBOX)
    code, printed = run("current", {"DATABASE_URL": fresh_database, **settings}, "--database", "inbox")
    assert (code, f"at revision {newest}; the newest is {newest}" in printed) == (0, True)
    assert rows(fresh_database, "SELECT count(*)::int FROM pg_roles WHERE rolname = 'schema_inbox'") == [(0,)]


def test_without_a_url_there_is_none(fresh_database: str) -> None:
    # As Compose has it: a name without a password, and empty lines.
    none = {**LOGIN, "INBOX_DB_PASSWORD": "", "INBOX_DATABASE_URL": ""}
    assert "inbox" not in migrate(fresh_database, LOGINS | none)
    for command in ("current", "downgrade"):
        code, printed = run(command, {"DATABASE_URL": fresh_database}, "--database", "inbox")
        assert (code, "set INBOX_DATABASE_URL" in printed) == (1, True)


def test_its_login_may_use_one_table_alone(fresh_database: str, inbox_url: str) -> None:
    migrate(fresh_database, LOGINS | LOGIN | {"INBOX_DATABASE_URL": inbox_url})
    login = {"user": LOGIN["INBOX_DB_USER"], "password": LOGIN["INBOX_DB_PASSWORD"]}
    assert rows(inbox_url, "DELETE FROM inbox_entry; SELECT try_to_drain()", **login) == [(True,)]
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "TRUNCATE inbox_entry",
        "SELECT * FROM alembic_version",
        "SELECT pg_try_advisory_lock(1)",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            rows(inbox_url, statement, **login)
    for user in ("WRITER", "READER"):
        with pytest.raises(psycopg2.OperationalError):
            rows(inbox_url, "SELECT 1", user=LOGINS[f"{user}_DB_USER"], password=LOGINS[f"{user}_DB_PASSWORD"])
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        rows(inbox_url, "SELECT 1", **login, dbname="postgres")


def test_the_sql_file_and_the_revisions_make_the_same_schema(
    postgres16: Cluster, fresh_database: str, inbox_url: str
) -> None:
    migrate(fresh_database, LOGINS | LOGIN | {"INBOX_DATABASE_URL": inbox_url})
    with postgres16.new_database() as name:
        url = postgres16.admin_url(name)
        upgrade_to(url, migrations.newest_revision(INBOX), INBOX)
        assert dump(postgres16.binaries, url) == dump(postgres16.binaries, inbox_url)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"INBOX_DB_USER": ""}, "set INBOX_DB_USER and INBOX_DB_PASSWORD"),
        ({"INBOX_DB_USER": "", "INBOX_DB_PASSWORD": ""}, "set INBOX_DB_USER and INBOX_DB_PASSWORD"),
        ({"INBOX_DB_USER": LOGINS["WRITER_DB_USER"]}, "must differ"),
        ({"INBOX_DB_USER": "inbox_writer"}, "name of a group"),
        ({"INBOX_DATABASE_URL": "itself"}, "and INBOX_DATABASE_URL another one"),
        ({"INBOX_DB_PASSWORD": "change-me-x", "ENVIRONMENT": "production"}, "INBOX_DB_PASSWORD still has"),
    ],
    ids=["no-user", "no-login", "writer", "group", "shared", "example"],
)
def test_wrong_settings_are_refused_in_one_line(
    fresh_database: str, inbox_url: str, changes: dict[str, str], reason: str
) -> None:
    given = {name: fresh_database if value == "itself" else value for name, value in changes.items()}
    settings = LOGINS | LOGIN | {"INBOX_DATABASE_URL": inbox_url} | given
    code, printed = run("migrate", {"DATABASE_URL": fresh_database, **settings})
    assert code == 1
    assert reason in printed.splitlines()[-1], printed
