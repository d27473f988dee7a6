"""What device-statistics-api recorded is imported: each row once, with its time, or refused with a reason."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg2 import sql

from load.old_systems import DEVICE_STATISTICS_API
from tests.database import rows
from tests.imports.old_systems import FOR_EVER, execute, insert, old_database
from tests.servers import Cluster, MigratedDatabase, finished_command, run_command

SYSTEM = ("import", "--from", "device-statistics-api")
INSERT = "INSERT INTO device_registrations (user_key, device_type, created_at) VALUES %s"


@pytest.fixture
def old(cluster: Cluster) -> Iterator[str]:
    """A database of that system, without a row."""
    with old_database(cluster, DEVICE_STATISTICS_API) as url:
        yield url


@pytest.fixture
def env(database: MigratedDatabase) -> dict[str, str]:
    """What the command reads."""
    return database.writer_env | FOR_EVER


def facts(database: MigratedDatabase) -> list[tuple[object, ...]]:
    """What is stored, without ids."""
    return rows(database, "SELECT user_key, device_type::text, received_at, occurred_at FROM auth_event ORDER BY 1, 3")


def test_each_row_is_registered_once_or_refused_with_a_reason(
    database: MigratedDatabase, env: dict[str, str], old: str
) -> None:
    insert(
        old,
        INSERT,
        [
            ("ана", "iOS", "2024-03-05 10:00:00.123456"),
            ("  bob ", "TV", "2024-03-05 10:00:01"),
            ("twice", "Watch", "2025-11-30 23:59:59"),
            ("twice", "Watch", "2025-11-30 23:59:59"),
            ("cut", "Windows", "2024-03-05 10:00:00"),
            ("lower", "ios", "2024-03-05 10:00:00"),
            ("no time", "iOS", None),
            ("never", "iOS", "infinity"),
            ("long ago", "iOS", "0044-03-15 12:00:00 BC"),
            ("later", "iOS", "2999-01-01"),
            ("\u200b", "iOS", "2024-03-05 10:00:00"),
            ("tab\tkey", "Windows", "2024-03-05 10:00:00"),
        ],
    )
    printed = run_command(env, *SYSTEM, old)
    assert "device_registrations: 12 rows = 4 registered + 0 duplicate + 8 refused" in printed
    assert "2 refused: device_type: Input should be 'Android', 'TV', 'Watch' or 'iOS'" in printed
    assert "4 refused: the time is NULL, infinite, or out of range (1970 to now)" in printed
    assert "1 refused: user_key: must not be blank" in printed
    moment = datetime.fromisoformat("2025-11-30T23:59:59Z")
    assert facts(database)[:2] == [
        ("bob", "TV", *[datetime.fromisoformat("2024-03-05T10:00:01Z")] * 2),
        ("twice", "Watch", moment, moment),
    ]
    assert facts(database)[3][2] == datetime.fromisoformat("2024-03-05T10:00:00.123456Z")
    assert rows(database, "SELECT count(*) FROM auth_event_default") == [(0,)]
    assert "no drift" in run_command(database.writer_env, "verify-counts")


def test_a_second_run_finds_everything_and_adds_what_is_new(
    database: MigratedDatabase, env: dict[str, str], old: str
) -> None:
    insert(old, INSERT, [(f"user-{n}", "iOS", f"2024-05-{1 + n % 28:02} 08:00:00") for n in range(100)])
    assert "100 registered + 0 duplicate" in run_command(env, *SYSTEM, old)
    insert(old, INSERT, [("new", "TV", "2026-01-01 00:00:00")])
    assert "101 rows = 1 registered + 100 duplicate + 0 refused" in run_command(env, *SYSTEM, old)
    assert rows(database, "SELECT sum(event_count) FROM auth_event_total") == [(101,)]
    assert "no drift" in run_command(database.writer_env, "verify-counts")


def test_a_dry_run_says_the_same_and_stores_nothing(database: MigratedDatabase, env: dict[str, str], old: str) -> None:
    insert(old, INSERT, [("a", "iOS", "2024-03-05 10:00:00"), ("b", "Windows", "2024-03-05 10:00:00")])
    weeks = "SELECT count(*) FROM pg_inherits"
    before = rows(database, weeks)
    printed = run_command(env, *SYSTEM, "--dry-run", old)
    assert "2 rows = 1 registered + 0 duplicate + 1 refused" in printed
    assert "nothing was stored" in printed
    assert (facts(database), rows(database, weeks)) == ([], before)
    run_command(env, *SYSTEM, old)
    assert "0 registered + 1 duplicate + 1 refused" in run_command(env, *SYSTEM, "--dry-run", old)


def test_local_times_are_those_of_the_zone_that_is_named(
    database: MigratedDatabase, env: dict[str, str], old: str
) -> None:
    insert(
        old,
        INSERT,
        [
            ("a", "iOS", "2024-07-01 12:00:00"),  # summer time
            ("b", "iOS", "2024-10-27 02:30:00"),  # twice on that day
            ("c", "iOS", "2024-03-31 02:30:00"),  # never on that day
        ],
    )
    zone = ("--source-timezone", "Europe/Berlin")
    run_command(env, *SYSTEM, *zone, old)
    assert [each[2] for each in facts(database)] == [
        datetime.fromisoformat("2024-07-01T10:00:00Z"),
        datetime.fromisoformat("2024-10-27T00:30:00Z"),
        datetime.fromisoformat("2024-03-31T01:30:00Z"),
    ]
    refused = finished_command(env, *SYSTEM, old)
    assert (refused.returncode, len(facts(database))) == (1, 3)
    assert "imported before with other times" in refused.stderr


def test_rows_that_are_not_kept_are_refused_so_that_a_repeat_counts_nothing_twice(
    database: MigratedDatabase, env: dict[str, str], old: str
) -> None:
    insert(old, INSERT, [("old", "iOS", "2024-01-01 00:00:00"), ("new", "iOS", datetime.now(UTC).replace(tzinfo=None))])
    printed = run_command(database.writer_env, *SYSTEM, old)
    assert "2 rows = 1 registered + 0 duplicate + 1 refused" in printed
    assert "1 refused: older than 400 days: see RETENTION_DAYS" in printed
    run_command(env, *SYSTEM, old)
    assert len(facts(database)) == 2
    run_command(database.writer_env, "maintain")
    assert len(facts(database)) == 1
    # `maintain` has noted the days, whatever this command is told.
    assert "0 registered + 1 duplicate + 1 refused" in run_command(env, *SYSTEM, old)
    assert rows(database, "SELECT sum(event_count) FROM auth_event_total") == [(2,)]
    assert "no drift" in run_command(database.writer_env, "verify-counts")


def test_events_go_to_the_project_that_is_named(database: MigratedDatabase, env: dict[str, str], old: str) -> None:
    insert(old, INSERT, [("a", "iOS", "2024-07-01 12:00:00")])
    key = run_command(database.writer_env, "create-project", "Shop").strip()
    run_command(env, *SYSTEM, "--project", key, old)
    assert rows(database, "SELECT project_key FROM auth_event JOIN project USING (project_id)") == [(key,)]
    unknown = finished_command(env, *SYSTEM, "--project", "nowhere", old)
    assert (unknown.returncode, unknown.stderr.strip()) == (1, "import: there is no project nowhere")


def test_two_installations_are_told_apart_by_their_names(
    database: MigratedDatabase, env: dict[str, str], old: str
) -> None:
    insert(old, INSERT, [("a", "iOS", "2024-07-01 12:00:00")])
    run_command(env, *SYSTEM, old)
    assert "1 registered" in run_command(env, *SYSTEM, "--source-name", "the other one", old)
    assert len(facts(database)) == 2


def test_refused_rows_are_listed_without_what_they_hold(env: dict[str, str], old: str, tmp_path: Path) -> None:
    insert(old, INSERT, [("secret-person", "Windows", "2024-07-01 12:00:00")])
    listed = tmp_path / "refused"
    run_command(env, *SYSTEM, "--refused", str(listed), old)
    [line] = listed.read_text().splitlines()
    assert json.loads(line)["table"] == "device_registrations"
    assert json.loads(line)["id"] == 1
    assert "secret" not in line
    nowhere = finished_command(env, *SYSTEM, "--refused", str(tmp_path / "no" / "file"), old)
    assert nowhere.returncode == 1
    assert "cannot be written" in nowhere.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://u:secret-word@h/d", "is not a PostgreSQL connection URL"),
        ("postgresql://u:secret-word@127.0.0.1:1/d", "the source cannot be read: connection to server"),
        ("postgresql://%zz:secret-word@h/d", "is not a PostgreSQL connection URL"),
    ],
)
def test_a_source_that_cannot_be_reached_is_an_error(env: dict[str, str], url: str, reason: str) -> None:
    ended = finished_command(env, *SYSTEM, url)
    assert ended.returncode == 1
    assert reason in ended.stderr
    assert "secret-word" not in ended.stderr


def test_a_database_of_another_schema_is_an_error(database: MigratedDatabase, env: dict[str, str], old: str) -> None:
    itself = finished_command(env, *SYSTEM, database.admin_url)
    assert itself.returncode == 1
    assert "of table device_registrations it lacks the table itself" in itself.stderr
    execute(old, "ALTER TABLE device_registrations DROP COLUMN created_at")
    assert "it lacks created_at" in finished_command(env, *SYSTEM, old).stderr
    assert facts(database) == []


def test_text_of_no_encoding_is_an_error(cluster: Cluster, database: MigratedDatabase, env: dict[str, str]) -> None:
    name = sql.Identifier("test_old_without_encoding")
    cluster.execute(sql.SQL("CREATE DATABASE {} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0").format(name))
    try:
        url = cluster.admin_url("test_old_without_encoding")
        execute(url, DEVICE_STATISTICS_API, "INSERT INTO device_registrations VALUES (1, E'\\xff', 'iOS')")
        ended = finished_command(env, *SYSTEM, url)
    finally:
        cluster.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
    assert (ended.returncode, facts(database)) == (1, [])
    assert "table device_registrations holds text that is not UTF-8" in ended.stderr


def test_a_wrong_password_and_a_missing_right_are_errors(cluster: Cluster, env: dict[str, str], old: str) -> None:
    execute(old, "CREATE ROLE reader_of_old LOGIN PASSWORD 'right-word'")
    try:
        url = f"postgresql://reader_of_old:wrong-word@127.0.0.1:{cluster.port}/{old.rsplit('/', 1)[-1]}"
        wrong = finished_command(env, *SYSTEM, url)
        right = finished_command(env, *SYSTEM, url.replace("wrong-word", "right-word"))
    finally:
        execute(old, "DROP ROLE reader_of_old")
    assert (wrong.returncode, right.returncode) == (1, 1)
    assert "password authentication failed" in wrong.stderr
    assert "wrong-word" not in wrong.stderr
    assert "permission denied for table device_registrations" in right.stderr


def test_a_target_that_is_away_is_an_error(env: dict[str, str], old: str) -> None:
    ended = finished_command(env | {"DB_PORT": "1"}, *SYSTEM, old)
    assert ended.returncode == 1
    assert "connection to server" in ended.stderr


def test_one_import_at_a_time(database: MigratedDatabase, env: dict[str, str], old: str) -> None:
    rows(database, "SELECT pg_advisory_lock(7305807142266143)")
    try:
        assert "another import is at work" in finished_command(env, *SYSTEM, old).stderr
    finally:
        rows(database, "SELECT pg_advisory_unlock(7305807142266143)")
