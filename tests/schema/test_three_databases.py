"""Personal data and its keys are in databases of their own, which only one login may enter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

import psycopg2
import pytest
from psycopg2 import errors
from psycopg2.extensions import make_dsn

from device_registration_api.schema import migrations
from device_registration_api.schema.connect import database_name
from device_registration_api.schema.schemas import KEYRING, PERSONAL, Schema, named_beside
from tests.schema.schema_steps import LOGINS, PERSONAL_LOGIN, dump, migrate, rows, run, upgrade_to

if TYPE_CHECKING:
    from tests.servers import Cluster

APART = pytest.mark.parametrize("schema", [PERSONAL, KEYRING], ids=lambda schema: schema.name)
ALL_LOGINS = {**LOGINS, **PERSONAL_LOGIN}
NAMES_LIKE = "SELECT datname FROM pg_database WHERE starts_with(datname, '{}') ORDER BY 1"


class Three(NamedTuple):
    statistics: str
    personal: str
    keyring: str

    def of(self, schema: Schema) -> str:
        return str(getattr(self, schema.name))


@pytest.fixture(params=["cluster", "postgres16"])
def server(request: pytest.FixtureRequest) -> Cluster:
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def three(server: Cluster) -> Iterator[Three]:
    """The administrator's URLs of three databases; the first exists and is empty, the others do not exist yet."""
    with ExitStack() as undo:
        name = undo.enter_context(server.new_database())
        found = Three(*(server.admin_url(each) for each in (name, f"{name}_personal", f"{name}_keyring")))
        for url in found[1:]:
            undo.callback(rows, server.admin_url(), f"DROP DATABASE IF EXISTS {database_name(url)} WITH (FORCE)")
        yield found


def test_one_migrate_makes_all_three_and_a_second_changes_nothing(three: Three) -> None:
    assert len(migrate(three.statistics, ALL_LOGINS).splitlines()) == 3
    second = migrate(three.statistics, ALL_LOGINS)
    assert [("already" in line) for line in second.splitlines()] == [True] * 3, second
    for schema in (PERSONAL, KEYRING):
        code, printed = run("current", {"DATABASE_URL": three.statistics}, "--database", schema.name)
        newest = migrations.newest_revision(schema)
        assert (code, f"at revision {newest}; the newest is {newest}" in printed) == (0, True)


def test_without_the_login_there_is_one_database_and_a_line_that_says_so(three: Three) -> None:
    """The settings of release 0.1.0 are sufficient."""
    first, second = migrate(three.statistics, LOGINS).splitlines()
    assert "at revision" in first
    assert second == "PERSONAL_DB_PASSWORD is not set: the databases of personal data are left out"
    name = database_name(three.statistics)
    assert rows(three.statistics, NAMES_LIKE.format(name)) == [(name,)]

    assert len(migrate(three.statistics, ALL_LOGINS).splitlines()) == 3
    before = dump_of_both(three)
    migrate(three.statistics, LOGINS)
    assert rows(three.statistics, NAMES_LIKE.format(name)) == [(name,), (f"{name}_keyring",), (f"{name}_personal",)]
    assert dump_of_both(three) == before


def dump_of_both(three: Three) -> list[list[tuple[object, ...]]]:
    tables = "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    return [rows(url, tables) for url in three[1:]]


@APART
@pytest.mark.parametrize("role", ["READER", "WRITER"])
def test_the_logins_of_statistics_cannot_connect(three: Three, schema: Schema, role: str) -> None:
    migrate(three.statistics, ALL_LOGINS)
    login = {"user": LOGINS[f"{role}_DB_USER"], "password": LOGINS[f"{role}_DB_PASSWORD"]}
    assert rows(three.statistics, "SELECT 1", **login) == [(1,)]
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        rows(three.of(schema), "SELECT 1", **login)
    public = "SELECT has_database_privilege('public', current_database(), privilege) FROM unnest(ARRAY{}) AS privilege"
    assert rows(three.of(schema), public.format("['CONNECT', 'TEMPORARY', 'CREATE']")) == [(False,)] * 3


def test_the_login_of_personal_data_writes_there_and_cannot_connect_elsewhere(three: Three) -> None:
    migrate(three.statistics, ALL_LOGINS)
    login = {"user": PERSONAL_LOGIN["PERSONAL_DB_USER"], "password": PERSONAL_LOGIN["PERSONAL_DB_PASSWORD"]}
    rows(three.keyring, "INSERT INTO daily_pepper VALUES (current_date, sha256(''))", **login)
    rows(three.personal, "DELETE FROM person; DELETE FROM person_index", **login)
    for url in (three.statistics, make_dsn(three.statistics, dbname="postgres")):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            rows(url, "SELECT 1", **login)
    for statement in ("CREATE TABLE mine (id int)", "CREATE TEMPORARY TABLE mine (id int)", "TRUNCATE person"):
        with pytest.raises(errors.InsufficientPrivilege):
            rows(three.personal, statement, **login)


@APART
def test_the_sql_file_and_the_revisions_make_the_same_schema(server: Cluster, three: Three, schema: Schema) -> None:
    migrate(three.statistics, ALL_LOGINS)
    with server.new_database() as name:
        upgrade_to(server.admin_url(name), migrations.newest_revision(schema), schema)
        assert dump(server.binaries, server.admin_url(name)) == dump(server.binaries, three.of(schema))


def test_a_downgrade_of_one_does_not_touch_the_others(server: Cluster, three: Three) -> None:
    migrate(three.statistics, ALL_LOGINS)
    before = [dump(server.binaries, url) for url in three]
    assert run("downgrade", {"DATABASE_URL": three.statistics})[0] == 0
    after = [dump(server.binaries, url) for url in three]
    assert after[0] != before[0]
    assert after[1:] == before[1:]
    assert run("downgrade", {"DATABASE_URL": three.statistics}, "--database", "keyring")[0] == 0
    code, printed = run("downgrade", {"DATABASE_URL": three.statistics}, "--database", "keyring")
    assert (code, "0001 is the first" in printed) == (1, True)


def test_urls_move_the_databases(server: Cluster, three: Three) -> None:
    with server.new_database() as personal, server.new_database() as keyring:
        moved = {
            "PERSONAL_DATABASE_URL": server.admin_url(personal),
            "KEYRING_DATABASE_URL": server.admin_url(keyring),
        }
        migrate(three.statistics, {**ALL_LOGINS, **moved})
        assert rows(server.admin_url(personal), "SELECT count(*)::int FROM person") == [(0,)]
        assert rows(server.admin_url(keyring), "SELECT count(*)::int FROM person_key") == [(0,)]
        name = database_name(three.statistics)
        assert rows(three.statistics, NAMES_LIKE.format(name)) == [(name,)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"PERSONAL_DB_USER": ""}, "belong together"),
        ({"PERSONAL_DB_PASSWORD": ""}, "belong together"),
        ({"PERSONAL_DB_USER": LOGINS["READER_DB_USER"]}, "must differ"),
        ({"PERSONAL_DB_USER": "personal_writer"}, "name of a group"),
        ({"KEYRING_DATABASE_URL": "itself"}, "three databases"),
        ({"PERSONAL_DB_PASSWORD": "change-me-x", "ENVIRONMENT": "production"}, "PERSONAL_DB_PASSWORD still has"),
    ],
    ids=["no-user", "no-password", "reader", "group", "shared", "example"],
)
def test_wrong_settings_are_refused_in_one_line(fresh_database: str, changes: dict[str, str], reason: str) -> None:
    given = {name: fresh_database if value == "itself" else value for name, value in changes.items()}
    code, printed = run("migrate", {"DATABASE_URL": fresh_database, **ALL_LOGINS, **given})
    assert code == 1
    assert reason in printed.splitlines()[-1], printed
    beside = named_beside(database_name(fresh_database), PERSONAL)
    assert rows(fresh_database, NAMES_LIKE.format(beside)) == []
