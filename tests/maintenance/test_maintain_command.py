"""The command as Compose, a CronJob and an operator run it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import IO, TYPE_CHECKING, cast
from unittest.mock import patch

import pytest
from psycopg2.extensions import parse_dsn

from device_registration_api.__main__ import main
from local.database import base_environment
from tests.maintenance.rounds import as_administrator, as_writer

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase


def run(environment: dict[str, str], *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines, without the half second that a process of its own needs to start."""
    printed = io.StringIO()
    with (
        patch.dict(os.environ, {**base_environment(), **environment}, clear=True),
        redirect_stdout(printed),
        redirect_stderr(printed),
    ):
        code = main(arguments)
    return code, printed.getvalue().splitlines()


def test_each_step_is_one_line(database: MigratedDatabase) -> None:
    assert run(database.writer_env, "maintain") == (
        0,
        [
            "partitions of api_request: created none",
            "partitions of auth_event: created none",
            "partitions of measurement: created none",
            "partitions of store_event: created none",
            "presences of auth_event: followed",
            "retention of api_request: no week is wholly older than 400 days",
            "retention of auth_event: no week is wholly older than 400 days",
            "retention of measurement: no week is wholly older than 400 days",
            "retention of store_event: no week is wholly older than 400 days",
            "minutes of api_request: 0 buckets older than 35 days deleted",
            "minutes of auth_event: 0 buckets older than 35 days deleted",
            "idempotency: 0 keys older than 48 hours deleted",
            "webhooks: 0 deliveries that ended more than 30 days ago deleted",
            "deleted devices: none",
            "deleted projects: none",
        ],
    )


def test_retention_days_is_a_setting(database: MigratedDatabase) -> None:
    code, lines = run({**database.writer_env, "RETENTION_DAYS": "0"}, "maintain")
    assert code == 0
    assert "retention of auth_event: facts are kept for ever" in lines
    code, lines = run({**database.writer_env, "RETENTION_DAYS": "-1"}, "maintain")
    assert (code, len(lines)) == (1, 1)
    assert "RETENTION_DAYS" in lines[0]


def test_an_alarm_is_exit_code_1(database: MigratedDatabase) -> None:
    as_writer(database, "INSERT INTO auth_event VALUES (1, 'infinity', gen_random_uuid(), now(), 'iOS', 'u')")
    code, lines = run(database.writer_env, "maintain")
    assert code == 1
    assert any("ALARM" in line for line in lines)


def test_the_reader_can_not_maintain(database: MigratedDatabase) -> None:
    code, lines = run(database.reader_env, "maintain")
    assert (code, len(lines)) == (1, 1)
    assert "permission denied" in lines[0]


@pytest.mark.parametrize("command", ["maintain", "verify-counts"])
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"DB_HOST": "127.0.0.1", "DB_PORT": "1"}, "Connection refused"),
        ({"DB_PASSWORD": "wrong-password"}, "password authentication failed"),
        ({"DB_HOST": "", "DB_NAME": ""}, "set DB_HOST, DB_NAME in the environment"),
        ({"DB_NAME": "postgres"}, "permission denied for database"),
    ],
)
def test_what_an_operator_can_mend_is_one_sentence(
    database: MigratedDatabase, command: str, changes: dict[str, str], sentence: str
) -> None:
    code, lines = run({**database.writer_env, **changes}, command)
    assert (code, len(lines)) == (1, 1), lines
    assert sentence in lines[0]
    assert "wrong-password" not in lines[0]


@pytest.mark.parametrize("command", ["maintain", "verify-counts"])
def test_a_database_without_the_schema_is_one_sentence(
    database: MigratedDatabase, fresh_database: str, command: str
) -> None:
    code, lines = run({**database.writer_env, "DB_NAME": parse_dsn(fresh_database)["dbname"]}, command)
    assert (code, len(lines)) == (1, 1), lines
    assert "does not exist" in lines[0]


def test_every_goes_on_through_an_outage_until_sigterm(database: MigratedDatabase) -> None:
    as_administrator(database, "REVOKE INSERT, SELECT ON auth_event_default FROM registration_writer")
    process = subprocess.Popen(
        [sys.executable, "-m", "device_registration_api", "maintain", "--every", "1"],
        env={**base_environment(), **database.writer_env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    errors, lines = cast("IO[str]", process.stderr), cast("IO[str]", process.stdout)
    assert "permission denied" in errors.readline()
    as_administrator(database, "GRANT SELECT ON auth_event_default TO registration_writer")
    assert any("partitions of auth_event:" in line for line in iter(lines.readline, ""))
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in err
    assert "idempotency" in out


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "often"])
def test_a_pause_that_is_no_pause_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run({}, "maintain", "--every", seconds)
