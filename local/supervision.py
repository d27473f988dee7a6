"""Restarts processes that end: each end is reported, and the pause grows if a process ends again and again."""

import time
from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from local.postgres import PostgresError

DELAY_SECONDS_MIN = 0.5
DELAY_SECONDS_MAX = 30.0
STABLE_SECONDS = 60.0  # when a process has run for this time, its next end counts as the first


class Process(Protocol):
    """A process that can be supervised."""

    @property
    def pid(self) -> int | None:
        """The process id while it is alive, else None."""

    def start(self) -> None:
        """Start it again."""


class Supervised:
    """One process under supervision. `tell` is called with each sentence for the operator."""

    def __init__(self, name: str, process: Process, tell: Callable[[str], None]) -> None:
        self._name = name
        self._process = process
        self._print_error = tell
        self._delay_seconds = DELAY_SECONDS_MIN
        self._started_at = 0.0
        self._start_due: float | None = None

    def check(self, now: float) -> None:
        """Check the process once, and start it if that is due; `now` is a monotonic time in seconds."""
        if self._process.pid is not None:
            return
        if self._start_due is None:
            if now - self._started_at > STABLE_SECONDS:
                self._delay_seconds = DELAY_SECONDS_MIN
            self._print_error(f"{self._name} ended by itself: it starts again in {self._delay_seconds:g} seconds.")
            self._start_due = now + self._delay_seconds
            self._delay_seconds = min(self._delay_seconds * 2, DELAY_SECONDS_MAX)
        elif now >= self._start_due:
            self._start_due = None
            self._started_at = now
            try:
                self._process.start()
            except PostgresError as error:
                self._print_error(str(error))


def watch(watched: Sequence[Supervised], every_seconds: float) -> NoReturn:
    """Supervise all processes until a signal's exception ends it."""
    while True:
        for each in watched:
            each.check(time.monotonic())
        time.sleep(every_seconds)
