"""The numbers of one process: doubles in a file that is mapped into its memory, so that counting is an addition.

The kernel keeps the file when the process is killed: what was counted stays exact. Another process reads the file at
any time without a lock, because a double is written at once. `servicekit.metrics.shared` is the reader.
"""

import fcntl
import json
import logging
import math
import mmap
import os
from bisect import bisect_left, bisect_right
from dataclasses import asdict
from pathlib import Path
from typing import IO, NamedTuple, TypeAlias

from servicekit.metrics.families import Family, Sort

# The pages that nothing was written to take no memory. A series of a histogram takes 150 bytes.
NUMBERS_MAX = 131_072
NUMBER_BYTES = 8
# The last ones belong to all series that find no place, and nobody reads them. No series has more.
SPARE_NUMBERS = 64
# What a file of numbers and the list of its series are called, after the process id.
NUMBERS_SUFFIX = ".numbers"
INDEX_SUFFIX = ".index"
# The value of a gauge that is not known now: it is not shown.
UNKNOWN = math.nan

# Python 3.11 has no parameters of a memoryview when it runs.
Numbers: TypeAlias = "memoryview[float]"

_log = logging.getLogger(__name__)


class Counter(NamedTuple):
    """One series of a counter."""

    numbers: Numbers
    at: int

    def add(self, amount: float = 1) -> None:
        """Count `amount` more."""
        self.numbers[self.at] += amount


class Gauge(NamedTuple):
    """One series of a gauge."""

    numbers: Numbers
    at: int

    def set(self, value: float) -> None:
        """Show this value; UNKNOWN shows none."""
        self.numbers[self.at] = value


class Histogram(NamedTuple):
    """One series of a histogram. The number of its values is the sum of its buckets, so both always agree."""

    numbers: Numbers
    at: int
    bounds: tuple[float, ...]

    def observe(self, value: float) -> None:
        """Count one value."""
        numbers, at, bounds = self
        numbers[at + bisect_left(bounds, value)] += 1
        numbers[at + len(bounds) + 1] += value

    def observe_all(self, values: list[float]) -> None:
        """Count many values, and sort them: to look for the bounds among the values takes a fifth of the instructions
        of looking for each value among the bounds.
        """
        if len(values) == 1:
            self.observe(values[0])
            return
        numbers, at, bounds = self
        values.sort()
        counted = 0
        for bound in bounds:
            up_to = bisect_right(values, bound, counted)
            if up_to > counted:
                numbers[at] += up_to - counted
                counted = up_to
                if counted == len(values):
                    break
            at += 1
        else:
            numbers[at] += len(values) - counted
        numbers[self.at + len(bounds) + 1] += sum(values)


class Cells:
    """Makes series. Each of them is made once for a family and the values of its labels."""

    def __init__(self, folder: Path | None) -> None:
        """With a folder, its readers see the numbers; without one, nobody does."""
        self._used = 0
        self._positions: dict[tuple[str, tuple[str, ...]], int] = {}
        self._is_full = False
        self._index: IO[str] | None = None
        self._numbers: Numbers
        if folder is None:
            self._numbers = memoryview(mmap.mmap(-1, NUMBERS_MAX * NUMBER_BYTES)).cast("d")
        else:
            self._numbers, self._index = _shared(folder)

    @property
    def are_shared(self) -> bool:
        """Whether another process can read them."""
        return self._index is not None

    def counter(self, family: Family, *labels: str) -> Counter:
        """Return the counter with these values of the family's labels."""
        return Counter(self._numbers, self._position(family, labels))

    def gauge(self, family: Family, *labels: str) -> Gauge:
        """Return the gauge with these values of the family's labels."""
        return Gauge(self._numbers, self._position(family, labels))

    def histogram(self, family: Family, *labels: str) -> Histogram:
        """Return the histogram with these values of the family's labels."""
        return Histogram(self._numbers, self._position(family, labels), family.bounds)

    def _position(self, family: Family, labels: tuple[str, ...]) -> int:
        assert len(labels) == len(family.labels), family.name  # noqa: S101 - a mistake of the caller's
        at = self._positions.get((family.name, labels))
        if at is None:
            at = self._positions[family.name, labels] = self._add(family, labels)
        return at

    def _add(self, family: Family, labels: tuple[str, ...]) -> int:
        spare = NUMBERS_MAX - SPARE_NUMBERS
        if self._used + family.width > spare:
            if not self._is_full:
                _log.error("there is no place for another metric: %s%s is not shown", family.name, labels)
                self._is_full = True
            return spare
        at, self._used = self._used, self._used + family.width
        if family.sort is Sort.GAUGE:
            self._numbers[at] = UNKNOWN
        if self._index is not None:
            # One write of a whole line: a reader takes lines that have an end.
            self._index.write(json.dumps({"family": asdict(family), "labels": labels, "at": at}) + "\n")
            self._index.flush()
        return at


def _shared(folder: Path) -> tuple[Numbers, IO[str]]:
    """Make the two files of this process. The lock on the list says that the process is alive, however it ends."""
    name = str(os.getpid())
    with (folder / (name + NUMBERS_SUFFIX)).open("w+b") as numbers:
        numbers.truncate(NUMBERS_MAX * NUMBER_BYTES)
        mapped = mmap.mmap(numbers.fileno(), NUMBERS_MAX * NUMBER_BYTES)
    hidden = folder / (name + ".new")
    index = hidden.open("w", encoding="utf-8")
    fcntl.flock(index, fcntl.LOCK_EX)
    hidden.rename(folder / (name + INDEX_SUFFIX))  # a reader never sees it without its lock
    return memoryview(mapped).cast("d"), index
