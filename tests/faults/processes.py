"""Processes and their children, by /proc."""

import os
import signal
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """The direct children of a process that are alive, oldest first."""
    found: set[int] = set()
    with suppress(OSError):  # gone meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            found.update(int(child) for child in (task / "children").read_text().split())
    return sorted(found)


def tree(pid: int) -> list[int]:
    """A process and everything below it, parents first."""
    return [pid, *(each for child in children(pid) for each in tree(child))]


def signal_tree(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process and to everything below it."""
    for each in tree(pid):
        with suppress(ProcessLookupError):
            os.kill(each, number)


def command(pid: int) -> str:
    """How a process was started, or nothing when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def confine(pids: Iterable[int], cores: Collection[int]) -> None:
    """Let processes run on these cores only, with every thread and child that they have or will have."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


def resident_bytes(pid: int) -> int:
    """How much memory a process holds, or 0 when it is gone."""
    with suppress(OSError):
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return 0
