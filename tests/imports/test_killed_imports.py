"""An import that was killed half-way and is run again ends as if nothing had happened, for each of the four systems."""

import re
import signal
import subprocess
import sys
import time

import pytest

from load.old_systems import OLD_SYSTEMS
from local.database import base_environment
from tests.database import rows
from tests.imports.old_systems import FOR_EVER, old_database
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, MigratedDatabase, finished_process, run_command

EVENTS = 40_000
CHUNK = 10_000
LINE = re.compile(r"^\w+: (\d+) rows = (\d+) registered \+ (\d+) duplicate \+ (\d+) refused$", re.MULTILINE)


def tables(printed: str) -> list[tuple[int, ...]]:
    """Of each table, in the order of the report: rows, registered, duplicate, refused."""
    return [tuple(map(int, found)) for found in LINE.findall(printed)]


@pytest.mark.parametrize("system", OLD_SYSTEMS)
def test_an_import_that_was_killed_goes_on_where_it_stopped(
    cluster: Cluster, database: MigratedDatabase, personal_databases: PersonalDatabases, system: str
) -> None:
    fact = OLD_SYSTEMS[system].fact
    stored = f"SELECT count(*), count(DISTINCT event_id) FROM {fact}"  # noqa: S608 - a table of ours
    env = database.writer_env | personal_databases.environment | FOR_EVER
    with old_database(cluster, *OLD_SYSTEMS[system].statements(EVENTS)) as old:
        command = ("import", "--from", system, old)
        with subprocess.Popen(
            [sys.executable, "-m", "device_registration_api", *command],
            env=base_environment() | env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while rows(database, stored) < [(CHUNK, CHUNK)] and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        # In a process of its own: this one may remember the keys of presences of the projects of another database.
        # Until the server has seen that the process is gone, its lock is held.
        while "another import" in (ended := finished_process(env, *command)).stderr:
            time.sleep(0.05)
        assert ended.returncode == 0, ended.stderr
        *around, events = tables(ended.stdout)
        # What was in flight when the process was killed may have been stored or not.
        assert events[2] in range(CHUNK, EVENTS, CHUNK)
        assert events == (EVENTS, EVENTS - events[2], events[2], 0)
        # What events belong to was stored before them.
        assert around == [(found, 0, found, 0) for found, *_ in around]
        assert rows(database, stored) == [(EVENTS, EVENTS)]
        again = tables(finished_process(env, *command).stdout)
    assert again == [(found, 0, found, 0) for found, *_ in again]
    assert len(again) == len(around) + 1
    assert rows(database, stored) == [(EVENTS, EVENTS)]
    assert "no drift" in run_command(database.writer_env, "verify-counts")
