"""Single steps of the machine: a flush to its disk, the waking of a process, and who uses its processors."""

import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count
from multiprocessing import get_context
from pathlib import Path

# Between two flushes of the probe. A pause that is longer is never missed.
_PROBE_SECONDS = 2e-3
_PAGE = bytes(8192)
_SEGMENT_PAGES = 2048  # 16 MiB, as one of PostgreSQL
_WAKES = 400
# Longer than a processor waits before it sleeps, and about what a step of the spine takes.
_WORK_SECONDS = 200e-6

_TICKS = os.sysconf("SC_CLK_TCK")


def description() -> str:
    """The processor, the number of cores and the operating system."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model, system = next(models, "unknown processor"), f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


class FlushProbe:
    """Overwrites a page of a file and flushes it, over and over, as PostgreSQL does at a COMMIT: beside other work.

    It sees what a flush takes while others write to the same disk: logs, data files, the journal of the file system.
    """

    def __init__(self, folder: Path) -> None:
        """The file is in `folder` while the probe runs."""
        self._folder = folder
        self._stopping = threading.Event()
        # Microseconds of each flush.
        self.times: list[float] = []
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Flush every few milliseconds while the block runs."""
        self._stopping.clear()
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        file = self._folder / "flushed"
        with file.open("wb", buffering=0) as opened:
            for _ in range(_SEGMENT_PAGES):
                opened.write(_PAGE)
            os.fsync(opened)
            opened.seek(0)
            started = time.perf_counter()
            for number in count(1):
                begun = time.perf_counter()
                opened.write(_PAGE)
                os.fdatasync(opened)
                self.times.append(1e6 * (time.perf_counter() - begun))
                if number % _SEGMENT_PAGES == 0:
                    opened.seek(0)
                if self._stopping.wait(_PROBE_SECONDS):
                    break
            self.seconds += time.perf_counter() - started
        file.unlink()


def wake_microseconds() -> list[float]:
    """From a message over the loopback to the first instruction of the process that slept until it came.

    Two processes work in turns, and each waits for the other one. Of two turns, half of what they take beyond the work.
    """
    times = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = get_context("spawn").Process(target=_answer, args=(server.getsockname()[1],))
        other.start()
        connection, _ = server.accept()
        with closing(connection):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(_WAKES):
                begun = time.perf_counter()
                _work()
                connection.send(b".")
                connection.recv(1)
                times.append(max(0.0, 1e6 * ((time.perf_counter() - begun) / 2 - _WORK_SECONDS)))
        other.join()
    return times


def _answer(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(1):
            _work()
            connection.send(b".")


def _work() -> None:
    ends = time.perf_counter() + _WORK_SECONDS
    while time.perf_counter() < ends:
        pass


class Processors:
    """How much of the machine's processors has been used since it was made."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()
        self._busy = _busy_seconds()

    def others_share(self, ours_seconds: float) -> float:
        """Return the share of all cores, 0 to 1, that was used or stolen by others, if we used so many seconds."""
        capacity = (time.perf_counter() - self._begun) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, (_busy_seconds() - self._busy - ours_seconds) / capacity))


def _busy_seconds() -> float:
    # user, nice, system, idle, iowait, irq, softirq, steal
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS
