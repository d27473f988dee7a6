"""The progress of a long command: one line of a terminal, a line now and then elsewhere, and nothing in between."""

from __future__ import annotations

import os
import pty
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TextIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.process.progress import NOT_SHOWN, Progress, shown_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

CLEAR = b"\r\x1b[K"


class Reader:
    """The other end of a stream."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.read = b""

    def until(self, text: bytes) -> None:
        """Return when it has been written."""
        while text not in self.read:
            self.read += os.read(self._descriptor, 1_000)


@contextmanager
def terminal() -> Iterator[tuple[TextIO, Reader]]:
    """A stream that is a terminal."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream, Reader(ours)
    os.close(ours)


@contextmanager
def pipe() -> Iterator[tuple[TextIO, Reader]]:
    """A stream that is none, as that of a container."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "w") as stream:
        yield stream, Reader(ours)
    os.close(ours)


def test_a_terminal_has_one_line_that_changes_and_goes() -> None:
    with terminal() as (stream, reader):
        with shown_progress("verify", stream) as progress:
            progress.expect(4)
            progress.doing("reading auth_event")
            reader.until(CLEAR + b"verify: 0 %, 0 of 4, reading auth_event, 0:0")
            progress.advance(3)
            reader.until(CLEAR + b"verify: 75 %, 3 of 4, reading auth_event, 0:0")
        stream.write("end")
        stream.flush()
        reader.until(b"end")
        assert reader.read.endswith(CLEAR + b"end")
        assert b"\n" not in reader.read


def test_a_line_that_is_reported_stands_above_the_progress() -> None:
    with terminal() as (stream, reader), shown_progress("maintain", stream) as progress:

        def write(line: str) -> None:
            stream.write(line + "\n")
            stream.flush()

        report = progress.above(write)
        reader.until(b"maintain: 0:0")
        report("partitions: none")
        reader.until(CLEAR + b"partitions: none\r\n")
        progress.advance(1_234)
        reader.until(CLEAR + b"maintain: 1,234 done, 0:0")


def test_elsewhere_it_is_a_line_now_and_then() -> None:
    with pipe() as (stream, reader), shown_progress("migrate", stream, log_seconds=0.01) as progress:
        progress.doing("revision 0005")
        reader.until(b"migrate: revision 0005, 0:00 min\n")
        assert b"\x1b" not in reader.read
        assert b"\r" not in reader.read


def test_a_short_command_writes_nothing_elsewhere() -> None:
    with pipe() as (stream, reader):
        with shown_progress("migrate", stream) as progress:
            progress.advance()
        stream.write("end")
        stream.flush()
        reader.until(b"end")
        assert reader.read == b"end"


def test_a_terminal_that_is_closed_ends_no_command() -> None:
    ours, theirs = pty.openpty()
    stream = os.fdopen(theirs, "w")
    with shown_progress("verify", stream) as progress:
        Reader(ours).until(b"verify")
        os.close(ours)
        progress.above(lambda _: None)("line")
        progress.advance()
    with suppress(OSError):  # the last line is still in its buffer
        stream.close()


def test_the_error_of_a_command_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), terminal() as (stream, _), shown_progress("verify", stream):
        raise ZeroDivisionError


def test_work_that_nobody_looks_at_writes_nothing() -> None:
    lines: list[str] = []
    NOT_SHOWN.expect(3)
    NOT_SHOWN.above(lines.append)("line")
    assert lines == ["line"]


@given(total=st.integers(0, 10**9), parts=st.lists(st.integers(0, 10**8), max_size=5))
def test_a_share_is_never_more_than_all(total: int, parts: list[int]) -> None:
    """A command may do more than it had expected: rows are stored while it runs."""
    progress = Progress("x")
    progress.expect(total)
    for part in parts:
        progress.advance(part)
    line = progress.line()
    if "%" in line:
        assert 0 <= int(line.removeprefix("x: ").partition(" %")[0]) <= 100
    assert line.endswith(" min")
