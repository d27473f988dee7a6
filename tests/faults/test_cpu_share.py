"""A share of a core is really no more than that, and is given back."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import cpu_share as module
from tests.faults.cpu_share import NoCpuShare, cpu_share

SHARE = 0.1
SECONDS = 1.0


@contextmanager
def busy_process() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime, proc(5)


def used_in_a_while(pid: int) -> float:
    before = processor_seconds(pid)
    time.sleep(SECONDS)
    return processor_seconds(pid) - before


def test_a_process_gets_its_share_and_then_everything_again() -> None:
    with busy_process() as pid:
        try:
            with cpu_share([pid], SHARE):
                limited = used_in_a_while(pid)
        except NoCpuShare as error:
            pytest.skip(str(error))
        # On a busy machine a second may not be enough; with the limit still in force, ten would not be.
        is_free = any(used_in_a_while(pid) > 2 * max(limited, SHARE * SECONDS) for _ in range(10))
    assert limited <= 2 * SHARE * SECONDS
    assert is_free


def test_where_nothing_can_be_limited_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CONTROLLERS", tmp_path)
    with pytest.raises(NoCpuShare, match="needs root and the cpu controller"), cpu_share([os.getpid()], SHARE):
        pass
