"""Shows how far a long command is: on a terminal in one line that changes, elsewhere in a line now and then.

It writes to stderr alone, so what a command prints stays what a script reads. A thread writes, because a statement of
the database may take minutes: the time goes on meanwhile.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

TERMINAL_SECONDS = 0.2
LOG_SECONDS = 10.0
_CLEAR_LINE = "\r\x1b[K"
_COLUMNS_MAX = 79


class Progress:
    """What a command has done of its work. Without a stream, nothing is shown."""

    def __init__(self, name: str = "", stream: TextIO | None = None) -> None:
        self._name = name
        self._stream = stream
        self._is_terminal = stream is not None and stream.isatty()
        self._begun = time.monotonic()
        # Held while anything is written or changed.
        self._lock = threading.Lock()
        self._doing = ""
        self._done = 0
        self._total: int | None = None

    def expect(self, total: int) -> None:
        """Say how much there is to do."""
        with self._lock:
            self._total, self._done = total, 0

    def doing(self, what: str) -> None:
        """Say what is under way now."""
        with self._lock:
            self._doing = what

    def advance(self, count: int = 1) -> None:
        """Say that so much more is done."""
        with self._lock:
            self._done += count

    def above(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Return the function that reports a line where the progress of a terminal is, which goes below it."""

        def report_above(line: str) -> None:
            with self._lock:
                self._clear()
                report(line)

        return report_above

    def line(self) -> str:
        """Return one line: what, how much of how much, and for how long."""
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        parts = [f"{minutes}:{seconds:02} min"]
        if self._doing:
            parts.insert(0, self._doing)
        if self._total:
            parts.insert(0, f"{min(100 * self._done // self._total, 100)} %, {self._done:,} of {self._total:,}")
        elif self._done:
            parts.insert(0, f"{self._done:,} done")
        return f"{self._name}: {', '.join(parts)}"

    @contextmanager
    def shown(self, log_seconds: float) -> Iterator[None]:
        """Write the line again and again while the block runs. A terminal's line is cleared at the end."""
        ended = threading.Event()
        pause = TERMINAL_SECONDS if self._is_terminal else log_seconds

        def show() -> None:
            while not ended.wait(pause):
                with self._lock:
                    self._write(_CLEAR_LINE + self.line()[:_COLUMNS_MAX] if self._is_terminal else self.line() + "\n")

        thread = threading.Thread(target=show, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self._clear()

    def _clear(self) -> None:
        if self._is_terminal:
            self._write(_CLEAR_LINE)

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            # The terminal is gone, or the stream is closed: the work goes on, and shows nothing any more.
            self._stream, self._is_terminal = None, False


NOT_SHOWN = Progress()
"""For work whose progress nobody looks at."""


@contextmanager
def shown_progress(name: str, stream: TextIO | None = None, *, log_seconds: float = LOG_SECONDS) -> Iterator[Progress]:
    """Show the progress of the block on `stream`, by default stderr: every `log_seconds` unless it is a terminal."""
    progress = Progress(name, sys.stderr if stream is None else stream)
    with progress.shown(log_seconds):
        yield progress
