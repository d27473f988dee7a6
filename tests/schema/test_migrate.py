from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest

from device_registration_api.schema import connect, settings
from device_registration_api.schema import migrate as migration
from device_registration_api.schema.migrations import newest_revision
from device_registration_api.schema.schemas import STATISTICS
from tests.schema.schema_steps import LOGIN_SETTINGS, LOGINS, dump, finished, migrate, rows, run, session, start

if TYPE_CHECKING:
    from tests.servers import Cluster

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"


def test_an_empty_database_gets_the_newest_revision_and_its_weeks(fresh_database: str) -> None:
    assert "empty" in run("current", {"DATABASE_URL": fresh_database})[1]

    migrate(fresh_database)

    assert rows(fresh_database, "SELECT revision FROM stats.schema_revision") == [(newest_revision(STATISTICS),)]
    monday = datetime.now(UTC).date() - timedelta(days=datetime.now(UTC).weekday())
    weeks = {f"auth_event_{monday + timedelta(days=7 * n):%Y%m%d}" for n in range(5)}
    children = rows(
        fresh_database, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'auth_event'::regclass"
    )
    assert {name for (name,) in children} == {*weeks, "auth_event_default"}
    assert rows(fresh_database, "SELECT project_id, name FROM project") == [(1, "default")]
    assert (
        f"revision {newest_revision(STATISTICS)}; the newest is" in run("current", {"DATABASE_URL": fresh_database})[1]
    )


def test_a_second_migrate_changes_nothing(fresh_database: str) -> None:
    migrate(fresh_database)
    assert "already" in migrate(fresh_database)


@pytest.mark.parametrize("server", ["cluster", "postgres16"])
def test_several_migrates_at_once_make_one_database(server: str, request: pytest.FixtureRequest) -> None:
    cluster: Cluster = request.getfixturevalue(server)
    url = cluster.admin_url("made_by_many")
    try:
        outcomes = [finished(each) for each in [start("migrate", {"DATABASE_URL": url, **LOGINS}) for _ in range(3)]]
        assert [code for code, _ in outcomes] == [0, 0, 0], outcomes
        assert sorted("already" in printed for _, printed in outcomes) == [False, True, True]
    finally:
        rows(cluster.admin_url(), "DROP DATABASE IF EXISTS made_by_many WITH (FORCE)")


def test_a_migrate_that_is_killed_half_way_leaves_nothing_and_the_next_one_succeeds(fresh_database: str) -> None:
    # Half of init.sql has run when it makes its first view.
    rows(
        fresh_database,
        """
        CREATE FUNCTION wait() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); END $$;
        CREATE EVENT TRIGGER half_way ON ddl_command_start WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION wait();
        """,
    )
    process = start("migrate", {"DATABASE_URL": fresh_database, **LOGINS})
    stuck = """
        SELECT pid FROM pg_stat_activity
         WHERE datname = current_database() AND wait_event = 'PgSleep' AND pid <> pg_backend_pid()
    """
    deadline = time.monotonic() + 20
    while not (found := rows(fresh_database, stuck)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    rows(fresh_database, f"SELECT pg_terminate_backend({found[0][0]}, 5000)")

    assert rows(fresh_database, TABLES) == [(0,)]
    rows(fresh_database, "DROP EVENT TRIGGER half_way; DROP FUNCTION wait()")
    migrate(fresh_database)
    assert rows(fresh_database, "SELECT revision FROM stats.schema_revision") == [(newest_revision(STATISTICS),)]


def test_rotated_logins_are_added_and_the_old_ones_keep_working(fresh_database: str) -> None:
    new = {
        **LOGINS,
        "WRITER_DB_USER": "Schema writer 2",  # quoting is needed for this one
        "WRITER_DB_PASSWORD": "p'w\\2",
        "READER_DB_USER": "schema_reader_2",
    }
    migrate(fresh_database)
    migrate(fresh_database, new)
    for logins in (LOGINS, new):
        for role in ("WRITER", "READER"):
            user, password = logins[f"{role}_DB_USER"], logins[f"{role}_DB_PASSWORD"]
            assert rows(
                fresh_database, "SELECT sum(event_count) FROM stats.auth_event_total", user=user, password=password
            )


def test_a_new_password_replaces_the_old_one(fresh_database: str) -> None:
    migrate(fresh_database)
    migrate(fresh_database, {**LOGINS, "READER_DB_PASSWORD": "the second one"})
    try:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            rows(fresh_database, "SELECT 1", user="schema_reader", password=LOGINS["READER_DB_PASSWORD"])
        assert rows(fresh_database, "SELECT 1", user="schema_reader", password="the second one")  # noqa: S106 - a test's
    finally:
        migrate(fresh_database)


@pytest.mark.parametrize("name", ["postgres", "stats_owner"])
def test_a_login_that_is_more_than_a_login_is_refused(fresh_database: str, name: str) -> None:
    code, printed = run("migrate", {"DATABASE_URL": fresh_database, **LOGINS, "WRITER_DB_USER": name})
    assert (code, len(printed.splitlines())) == (1, 1)
    assert name in printed
    assert rows(fresh_database, TABLES) == [(0,)]


def test_a_database_of_a_newer_release_gets_its_logins_and_keeps_its_schema(
    cluster: Cluster, fresh_database: str
) -> None:
    """After a rollback of the images past a change of the schema, secrets can still be rotated."""
    migrate(fresh_database)
    rows(
        fresh_database,
        """
        UPDATE alembic_version SET version_num = '9999';
        CREATE TABLE of_a_later_release (id int);
        DROP FUNCTION maintenance.make_week(date);
        """,
    )
    before = dump(cluster.binaries, fresh_database)
    renewed = {**LOGINS, "READER_DB_USER": "schema_reader_2", "WRITER_DB_USER": "schema_writer_2"}

    code, printed = finished(start("migrate", {"DATABASE_URL": fresh_database, **renewed}))

    assert (code, len(printed.splitlines())) == (0, 2)  # the second says that there is no personal data
    assert printed.startswith("warning: ")
    assert f"at revision 9999, newer than this release, which ends at {newest_revision(STATISTICS)}" in printed
    assert dump(cluster.binaries, fresh_database) == before
    for role in ("WRITER", "READER"):
        login = {"user": renewed[f"{role}_DB_USER"], "password": renewed[f"{role}_DB_PASSWORD"]}
        assert rows(fresh_database, "SELECT revision FROM stats.schema_revision", **login) == [("9999",)]


@pytest.mark.parametrize(("command", "revision"), [("downgrade", "9999"), ("downgrade", "abcd"), ("migrate", "abcd")])
def test_a_revision_that_nobody_knows_is_refused(fresh_database: str, command: str, revision: str) -> None:
    migrate(fresh_database)
    with session(fresh_database) as conn, conn.cursor() as cur:
        cur.execute("UPDATE alembic_version SET version_num = %(revision)s", {"revision": revision})

    code, printed = run(command, {"DATABASE_URL": fresh_database, **LOGINS})

    assert (code, len(printed.splitlines())) == (1, 1)
    assert f"{revision}, unknown to this release" in printed


def test_a_migrate_does_not_wait_for_ever_for_another_one_and_says_so(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connect, "LOCK_WAIT_SECONDS_MAX", 0.2)
    with session(fresh_database) as holder, holder.cursor() as cur:
        cur.execute("SELECT pg_advisory_lock(7302001)")
        with pytest.raises(connect.CommandError, match="another migrate"):
            migration.migrate(settings.AdministratorSettings(database_url=fresh_database), LOGIN_SETTINGS)
