"""Processes of a PostgreSQL server that are still at work on a data folder."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

POLL_SECONDS = 0.01


def lock_file(data: Path) -> list[str]:
    """The lines of `postmaster.pid`, stripped; none when the server was stopped in order.

    The first is the process id, the fifth the socket's folder, the eighth the server's state.
    """
    try:
        text = Path(data, "postmaster.pid").read_text(errors="surrogateescape")
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines()]


def stop_stale_server(data: Path, seconds_max: float) -> None:
    """End a server that outlived the process that started it: fast shutdown first, SIGKILL after `seconds_max`."""
    lock = lock_file(data)
    if not lock:
        return
    pid = int(lock[0])
    ours = pid in _processes(data)
    if ours:
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + seconds_max
        while pid in _processes(data) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    kill_all(data)  # what a killed server left: it would keep the data folder locked
    if not ours and Path(f"/proc/{pid}").exists():
        # The number belongs to another program by now, which PostgreSQL would take for a server.
        Path(data, "postmaster.pid").unlink(missing_ok=True)


def kill_all(data: Path) -> None:
    """SIGKILL every process of a server on `data`; return when none is left."""
    while remaining := list(_processes(data)):
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def _processes(data: Path) -> Iterator[int]:
    """Every process of a server on this data folder: it is the working directory of each."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # the process has ended, or belongs to another user
                if (entry / "cwd").readlink() == data:
                    yield int(entry.name)
