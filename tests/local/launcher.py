"""`make run` as an operator has it: a process, what it prints, and what it leaves behind."""

import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

START_SECONDS_MAX = 60


@dataclass
class Launch:
    """One run of the launcher."""

    process: subprocess.Popen[bytes]
    printed_to: Path
    data: Path
    public_port: int
    private_port: int

    @property
    def public_url(self) -> str:
        return f"http://127.0.0.1:{self.public_port}"

    @property
    def printed(self) -> str:
        return self.printed_to.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds_max: float = START_SECONDS_MAX) -> re.Match[str]:
        deadline = time.monotonic() + seconds_max
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.printed):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        pytest.fail(f"no {pattern!r} from a launcher that ended with {self.process.poll()}:\n{self.printed}")

    def wait_ready(self) -> "Launch":
        self.wait_for(r"Ready after")
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(START_SECONDS_MAX)

    def left_processes(self) -> dict[int, str]:
        """Command lines of everything of this run that is still alive: its settings, or its folder, mark it."""
        found = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                environment = (entry / "environ").read_bytes().split(b"\0")
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # gone meanwhile, or somebody else's
            mark = f"STATISTICS_PORT={self.public_port}".encode()
            if command and (mark in environment or str(self.data) in command):
                found[int(entry.name)] = command
        return found

    def pids_of(self, program: str) -> list[int]:
        return [pid for pid, command in self.left_processes().items() if program in command]

    def wait_gone(self, seconds_max: float = 15) -> None:
        deadline = time.monotonic() + seconds_max
        while (left := self.left_processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, left


StartLauncher = Callable[..., Launch]
