"""What `make run` promises: starts, works, stops in order, and finds its data again."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from local.database import base_environment
from local.services import ROOT
from tests.local.http_client import count, log_event
from tests.local.launcher import Launch, StartLauncher
from tests.servers import Cluster

ORDINARY_ID = 1234


def modes(path: Path) -> dict[str, int]:
    return {str(each): each.stat().st_mode for each in (path, *path.parents)}


def test_it_starts_answers_stops_without_an_orphan_and_finds_its_data_again(launch: StartLauncher) -> None:
    first = launch().wait_ready()
    first.wait_for(r"X-API-Key: ds_live_\w+'")
    log_event(first.public_url)

    assert first.end(signal.SIGTERM) == 0
    first.wait_gone()
    assert "Traceback" not in first.printed

    second = launch(again=first).wait_ready()
    assert count(second.public_url) == 1
    second.wait_for(r"X-API-Key: ds_live_\w+'")
    first_key, second_key = (re.findall(r"X-API-Key: (\w+)", each.printed) for each in (first, second))
    assert first_key == second_key
    kept = first.data / "api-key"
    assert [kept.read_text().strip()] == first_key
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: THE CURL LINES THAT `make run` PRINTS, because curl is not here"
)
def test_the_curl_lines_that_it_prints_work(launch: StartLauncher) -> None:
    run = launch().wait_ready()
    run.wait_for(r"X-API-Key: ds_live_\w+'\n")
    lines = re.findall(r"^  (curl .*?[^\\])$", run.printed, re.MULTILINE | re.DOTALL)

    def run_in_a_shell(line: str) -> str:
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout

    answers = [run_in_a_shell(line) for line in lines]

    assert len(lines) == 4
    assert answers[0] == '{"statusCode":200,"message":"Device registered successfully"}'
    assert answers[1] == '{"deviceType":"iOS","count":1}'
    assert '"count":1' in answers[2]
    assert answers[3].endswith('"total":0}')


def test_ctrl_c_twice_is_as_good_as_once(launch: StartLauncher) -> None:
    run = launch().wait_ready()

    run.process.send_signal(signal.SIGINT)
    time.sleep(0.05)

    assert run.end(signal.SIGINT) == 0
    run.wait_gone()
    assert "Traceback" not in run.printed


def test_a_signal_during_the_start_stops_what_has_been_started(launch: StartLauncher) -> None:
    run = launch()
    run.wait_for("Making the database")

    assert run.end(signal.SIGINT) == 0
    run.wait_gone()
    assert "Traceback" not in run.printed


def test_a_launcher_killed_with_kill_9_takes_everything_along_and_starts_again(launch: StartLauncher) -> None:
    first = launch().wait_ready()
    log_event(first.public_url)
    first.end(signal.SIGKILL)

    second = launch(again=first).wait_ready()  # at once, while the first may still be closing

    assert count(second.public_url) == 1


def test_nothing_outside_the_data_folder_is_touched_and_secrets_stay_secret(
    launch: StartLauncher, tmp_path: Path
) -> None:
    parent = tmp_path / "open" / "parent"
    parent.mkdir(parents=True)
    parent.chmod(0o750)
    binaries = Path(psycopg2.__file__).parent
    users, before = Path("/etc/passwd").read_bytes(), modes(parent) | modes(binaries)

    run = launch(parent / "data").wait_ready()
    log_event(run.public_url)

    assert Path("/etc/passwd").read_bytes() == users
    assert modes(parent) | modes(binaries) == before
    assert run.data.stat().st_mode & 0o777 == 0o700
    kinds = ("*-token", "*-password", "*-keks", "*-keys", "postgres/*-password")
    secrets = [found for kind in kinds for found in run.data.glob(kind)]
    assert len(secrets) == 8
    assert {each.stat().st_mode & 0o777 for each in secrets} == {0o600}
    written = [Path(run.printed_to), *run.data.glob("postgres/pgdata/log/*"), *run.data.glob("postgres/*.log")]
    assert len(written) >= 3
    for log in written:
        for each in secrets:
            assert each.read_bytes().strip() not in log.read_bytes()


def test_two_run_side_by_side_in_folders_with_difficult_names(launch: StartLauncher, tmp_path: Path) -> None:
    deep = launch(tmp_path / ("d" * 100) / ("e" * 100))
    odd = launch(tmp_path / "a folder, 'quoted' \"twice\" and ü")
    deep.wait_ready()
    odd.wait_ready()

    log_event(deep.public_url)

    assert (count(deep.public_url), count(odd.public_url)) == (1, 0)
    socket_folder = (deep.data / "postgres" / "socket").readlink()
    assert socket_folder.stat().st_mode & 0o777 == 0o700
    assert deep.end() == 0
    assert not socket_folder.exists()


@pytest.fixture
def folder_of_an_ordinary_user() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ordinary-user-"))
    os.chown(folder, ORDINARY_ID, ORDINARY_ID)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test shows it already")
def test_it_works_as_an_ordinary_user_without_a_home(launch: StartLauncher, folder_of_an_ordinary_user: Path) -> None:
    become = ("setpriv", f"--reuid={ORDINARY_ID}", f"--regid={ORDINARY_ID}", "--clear-groups", "env", "-u", "HOME")
    probe = [*become, sys.executable, "-c", "import local.run"]
    if subprocess.run(probe, cwd=ROOT, capture_output=True, check=False).returncode != 0:
        pytest.skip("an ordinary user may not read this Python or this folder")

    run = launch(folder_of_an_ordinary_user / "data", prefix=become).wait_ready()
    log_event(run.public_url)

    assert count(run.public_url) == 1
    assert (run.data / "postgres" / "pgdata").stat().st_uid == ORDINARY_ID
    assert run.end() == 0


def test_with_an_administrators_url_nothing_is_embedded(launch: StartLauncher, cluster: Cluster) -> None:
    with cluster.new_database() as name:
        run = launch(env={"DATABASE_URL": cluster.admin_url(name)}).wait_ready()
        log_event(run.public_url)

        assert count(run.public_url) == 1
        assert not (run.data / "postgres").exists()
        assert run.end() == 0
        psycopg2.connect(cluster.admin_url(name)).close()  # it is not ours to stop


def wait_until_events_are_accepted(run: Launch, seconds_max: float = 15) -> None:
    deadline = time.monotonic() + seconds_max
    while True:
        try:
            log_event(run.public_url)
        except (urllib.error.URLError, ConnectionError):
            assert time.monotonic() < deadline, run.printed
            time.sleep(0.1)
        else:
            return


def test_whatever_dies_is_named_and_started_again(launch: StartLauncher) -> None:
    run = launch().wait_ready()
    log_event(run.public_url)

    for pid in run.pids_of("main.py"):
        os.kill(pid, signal.SIGKILL)
    run.wait_for(r"device-registration-api ended by itself")
    run.wait_for(r"statistics-api ended by itself")
    wait_until_events_are_accepted(run)

    server = int((run.data / "postgres" / "pgdata" / "postmaster.pid").read_text().split()[0])
    os.kill(server, signal.SIGKILL)
    run.wait_for(r"PostgreSQL ended by itself")
    wait_until_events_are_accepted(run)

    assert count(run.public_url) == 3
    assert run.end() == 0


def test_its_counts_can_be_verified_while_it_runs(launch: StartLauncher) -> None:
    run = launch().wait_ready()
    log_event(run.public_url)
    verify = [sys.executable, "-m", "local.command", "verify-counts"]
    env = base_environment() | {"DATA_DIR": str(run.data)}

    found = subprocess.run(verify, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "no drift" in found.stdout

    run.end()
    refused = subprocess.run(verify, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "make run" in refused.stderr
