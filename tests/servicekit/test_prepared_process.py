"""A service that is started from a preparation is what it would be if it were started by a new interpreter."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from local import child_process
from local.database import base_environment
from local.services import Child, Process, Spawn
from tests.prepared_process import SMALL, Preparation

PROGRAM = """
import json, os, signal, sys, time
ignored = [number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN]
print(json.dumps([
    __name__, sys.argv, sys.path, os.getcwd(), dict(os.environ), time.tzname, os.getsid(0) == os.getpid(),
    os.read(0, 1).decode(), ignored, sys.modules["__main__"].__file__, sorted(os.listdir("/proc/self/fd"))[:3],
]))
sys.stdout.flush()
print("to stderr", file=sys.stderr)
sys.exit(7)
"""
COMMAND = [sys.executable, "main.py"]


@pytest.fixture
def prepared(preparations: dict[str, Preparation]) -> Spawn:
    return preparations[SMALL].spawn


def environment(**more: str) -> dict[str, str]:
    return base_environment() | {"TZ": "Asia/Kathmandu", "GREETING": "Grüße"} | more


def started(spawn: Spawn, folder: Path, **env: str) -> Process:
    with Path(folder, "output").open("wb") as output:
        return spawn(COMMAND, env=environment(**env), cwd=folder, output=output)


def seen_by(spawn: Spawn, folder: Path, **env: str) -> list[Any]:
    Path(folder, "main.py").write_text(PROGRAM)
    assert started(spawn, folder, **env).wait(30) == 7
    said, error = Path(folder, "output").read_text().splitlines()
    assert error == "to stderr"
    found: list[Any] = json.loads(said)
    return found


def without_search_path(seen: list[Any]) -> list[Any]:
    return [*seen[:2], seen[2][0], *seen[3:9]]


def test_a_program_sees_what_it_sees_after_a_start_of_its_own(prepared: Spawn, tmp_path: Path) -> None:
    expected = seen_by(child_process.spawn, tmp_path)
    assert expected[4]["GREETING"] == "Grüße"
    assert without_search_path(seen_by(prepared, tmp_path)) == without_search_path(expected)


def test_what_is_read_before_any_import_gets_a_start_of_its_own(prepared: Spawn, tmp_path: Path) -> None:
    assert str(tmp_path / "first") in seen_by(prepared, tmp_path, PYTHONPATH=str(tmp_path / "first"))[2]


def test_it_is_known_how_a_program_ended_and_whether_it_has(prepared: Spawn, tmp_path: Path) -> None:
    Path(tmp_path, "main.py").write_text("import time; time.sleep(60)")
    process = started(prepared, tmp_path)
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.terminate()
    assert process.wait(30) == process.poll() == -signal.SIGTERM
    process.terminate()  # harmless


def test_a_child_can_be_killed_with_everything_it_started(prepared: Spawn, tmp_path: Path) -> None:
    Path(tmp_path, "main.py").write_text(
        "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    child = Child("program", COMMAND, environment(), cwd=tmp_path, log=tmp_path / "log")
    child.start_by(prepared)
    child.start()
    while not Path(tmp_path, "log").read_text().endswith("\n"):
        time.sleep(0.01)
    grandchild = int(Path(tmp_path, "log").read_text())
    child.kill()
    assert child.exit_status == -signal.SIGKILL
    while Path(f"/proc/{grandchild}/cmdline").exists() and Path(f"/proc/{grandchild}/cmdline").read_bytes():
        time.sleep(0.01)


def test_what_nobody_has_stopped_ends_with_the_preparation(tmp_path: Path) -> None:
    Path(tmp_path, "main.py").write_text("import time; time.sleep(60)")
    preparation = Preparation(SMALL)
    pid = started(preparation.spawn, tmp_path).pid
    assert os.getsid(pid) == pid
    preparation.close()
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        time.sleep(0.01)
