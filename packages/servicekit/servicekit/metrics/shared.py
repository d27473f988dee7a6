"""Reads the numbers of every process of a service, and adds them up."""

import fcntl
import json
import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple, TypeAlias

from servicekit.metrics.cells import INDEX_SUFFIX, NUMBERS_SUFFIX, Numbers
from servicekit.metrics.families import Family, Sort

# The numbers of each series (see Family.width), by the values of its labels.
Readings: TypeAlias = dict[Family, dict[tuple[str, ...], list[float]]]


class SharedCells:
    """The processes that have their files in one folder. Counters of a process that has ended stay; its gauges go."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[str, _Process] = {}
        self._ended: Readings = {}
        self._lock = Lock()

    def read(self) -> Readings:
        """Return the sums over all processes."""
        sums: Readings = {}
        with self._lock:  # two readers at once would count an ended process twice
            for index in self._folder.glob(f"*{INDEX_SUFFIX}"):
                if index.stem not in self._processes:
                    self._processes[index.stem] = _Process(index)
            for name, process in list(self._processes.items()):
                # Asked before the numbers are read: a process that has ended by now counts no more.
                if process.has_ended():
                    _add(self._ended, process, gauges=False)
                    process.forget()
                    del self._processes[name]
                else:
                    _add(sums, process, gauges=True)
            _add_readings(sums, self._ended)
        return sums


class _Series(NamedTuple):
    family: Family
    labels: tuple[str, ...]
    at: int


class _Process:
    """The files of one process. The list of its series only grows, so each line is read once."""

    def __init__(self, index: Path) -> None:
        self._path = index
        self._index = index.open("rb")
        self._rest = b""
        self._series: list[_Series] = []
        with index.with_suffix(NUMBERS_SUFFIX).open("rb") as numbers:
            self._numbers: Numbers = memoryview(mmap.mmap(numbers.fileno(), 0, access=mmap.ACCESS_READ)).cast("d")

    def has_ended(self) -> bool:
        """Whether the lock of the process is free, which it holds to its end."""
        try:
            fcntl.flock(self._index, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def readings(self) -> Iterator[tuple[_Series, list[float]]]:
        """Return each series with its numbers."""
        # The last line has no end while its process writes it.
        *lines, self._rest = (self._rest + self._index.read()).split(b"\n")
        self._series += map(_series, lines)
        for series in self._series:
            yield series, list(self._numbers[series.at : series.at + series.family.width])

    def forget(self) -> None:
        """Remove the files."""
        self._index.close()
        self._path.unlink(missing_ok=True)
        self._path.with_suffix(NUMBERS_SUFFIX).unlink(missing_ok=True)


def _series(line: bytes) -> _Series:
    read = json.loads(line)
    family = read["family"]
    return _Series(
        Family(family["name"], family["help"], Sort(family["sort"]), tuple(family["labels"]), tuple(family["bounds"])),
        tuple(read["labels"]),
        read["at"],
    )


def _add(sums: Readings, process: _Process, *, gauges: bool) -> None:
    for (family, labels, _), numbers in process.readings():
        if family.sort is Sort.GAUGE and (not gauges or math.isnan(numbers[0])):
            continue
        _add_series(sums, family, labels, numbers)


def _add_readings(sums: Readings, others: Readings) -> None:
    for family, series in others.items():
        for labels, numbers in series.items():
            _add_series(sums, family, labels, numbers)


def _add_series(sums: Readings, family: Family, labels: tuple[str, ...], numbers: list[float]) -> None:
    known = sums.setdefault(family, {})
    before = known.get(labels)
    known[labels] = numbers if before is None else [sum(pair) for pair in zip(before, numbers, strict=True)]
