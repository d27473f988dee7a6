"""Long commands end with one sentence on Ctrl-C, at once, also while they wait for the database, and are repeated."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest

from load.old_systems import OLD_SYSTEMS
from local.database import base_environment
from tests.imports.old_systems import FOR_EVER, old_database
from tests.personal_databases import PersonalDatabases
from tests.schema.schema_steps import LOGINS
from tests.servers import Cluster, MigratedDatabase, finished_process
from tests.waiting import wait_until

EVENTS = 3
# Without being cancelled, `distribute` waits for ever, and the other thread of an import for 10 s.
SECONDS_MAX = 8.0
BLOCKED = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
OLD_SYSTEM = "device-statistics-api"
# As distribute and migrate look at it first.
REVISION = "alembic_version"


class Case(NamedTuple):
    """A command, in which a folder and the old database are named, the table that it waits for, and what it says."""

    arguments: tuple[str, ...]
    table: str
    sentence: str
    is_in_keyring: bool = False
    is_repeated: bool = True


CASES = {
    "migrate": Case(("migrate",), REVISION, "each revision is done as a whole or not at all: repeat the command"),
    # Of a database without Citus, which has to be asked for that.
    "distribute": Case(
        ("distribute",), REVISION, "the steps that are done stay: repeat the command", is_repeated=False
    ),
    "verify-counts": Case(("verify-counts",), "auth_event", "it has changed nothing: repeat the command"),
    "rotate-keys": Case(
        ("rotate-keys",),
        "person_key",
        "the keys that are wrapped again stay so: repeat the command",
        is_in_keyring=True,
    ),
    "export": Case(
        ("export", "default", "FOLDER", "--kind", "auth_events"),
        "auth_event",
        "the files that are whole stay: the same command goes on behind them",
    ),
    "import": Case(
        ("import", "--from", OLD_SYSTEM, "OLD"),
        "auth_event",
        "what is stored stays: the same command goes on where this one stopped",
    ),
    "import, in another thread": Case(
        ("import", "--from", OLD_SYSTEM, "OLD"),
        "auth_event_total",
        "what is stored stays: the same command goes on where this one stopped",
    ),
}


@pytest.fixture(scope="module")
def old(cluster: Cluster) -> Iterator[str]:
    """A database of another system."""
    with old_database(cluster, *OLD_SYSTEMS[OLD_SYSTEM].statements(EVENTS)) as url:
        yield url


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_ctrl_c_ends_a_command_with_one_sentence(
    database: MigratedDatabase, personal_databases: PersonalDatabases, old: str, tmp_path: Path, case: Case
) -> None:
    env = database.writer_env | personal_databases.environment | LOGINS | FOR_EVER
    env["DATABASE_URL"] = database.admin_url
    arguments = [{"FOLDER": str(tmp_path), "OLD": old}.get(each, each) for each in case.arguments]
    where = personal_databases.environment["KEYRING_DATABASE_URL"] if case.is_in_keyring else database.admin_url
    with closing(psycopg2.connect(where)) as conn, closing(psycopg2.connect(where)) as looking:
        looking.autocommit = True
        with conn.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {case.table} IN ACCESS EXCLUSIVE MODE")
        with subprocess.Popen(
            [sys.executable, "-m", "device_registration_api", *arguments],
            env=base_environment() | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            wait_until(lambda: _blocked(looking) > 0 or process.poll() is not None)
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            seconds = time.monotonic() - begun
        conn.rollback()
    assert process.returncode == 128 + signal.SIGINT, errors
    said = [line for line in errors.splitlines() if "%" not in line]
    assert said == [f"{arguments[0]}: interrupted; {case.sentence}"]
    assert seconds < SECONDS_MAX
    if case.is_repeated:
        ended = finished_process(env, *arguments)
        assert ended.returncode == 0, ended.stderr


def _blocked(looking: "psycopg2.extensions.connection") -> int:
    with looking.cursor() as cursor:
        cursor.execute(BLOCKED)
        return len(cursor.fetchall())
