"""Answers scrapes on a port of its own, in the text format of Prometheus or in OpenMetrics, as the scraper asks."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from typing_extensions import override

from servicekit.metrics.families import Family, Sort
from servicekit.metrics.shared import SharedCells

_PREFIX = "service-metrics-"
# A folder in memory, which containers have although their file system is read-only; elsewhere the system's own.
_IN_MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder there that only this user may enter


@contextmanager
def served_metrics(host: str, port: int) -> Iterator[Path]:
    """Answer `GET /metrics` in a thread. Yields the folder in which the processes of the service put their numbers.

    Raises:
        OSError: the port is taken.
    """
    with _folder() as folder:
        registry = CollectorRegistry()
        registry.register(_SharedCollector(SharedCells(folder)))
        server, thread = start_http_server(port, host, registry)
        try:
            yield folder
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@contextmanager
def _folder() -> Iterator[Path]:
    parent = _IN_MEMORY if _IN_MEMORY.is_dir() else Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    # Its name has the prefix when its lock is held, so that no other process takes it for one that was left.
    made = Path(tempfile.mkdtemp(prefix="new-", dir=parent))
    lock = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = made.rename(parent / f"{_PREFIX}{made.name}")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def _remove_if_left(folder: Path) -> None:
    """Remove the folder of a process that was killed: a container that is started again has the same memory."""
    with suppress(OSError):  # another process has just removed it, or it belongs to another user
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
        finally:
            os.close(lock)


class _SharedCollector(Collector):
    """Gives the library the sums of all processes. It counts nothing itself: its own counters take locks."""

    def __init__(self, cells: SharedCells) -> None:
        self._cells = cells

    @override
    def collect(self) -> Iterator[Metric]:
        for family, series in sorted(self._cells.read().items(), key=lambda item: item[0].name):
            yield _metric(family, series)


def _metric(family: Family, series: dict[tuple[str, ...], list[float]]) -> Metric:
    if family.sort is Sort.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        bounds = [*map(floatToGoString, family.bounds), "+Inf"]
        for labels, (*buckets, total) in series.items():
            cumulated = accumulate(buckets)
            histogram.add_metric(labels, list(zip(bounds, cumulated, strict=True)), sum_value=total)
        return histogram
    kind = CounterMetricFamily if family.sort is Sort.COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, (value,) in series.items():
        metric.add_metric(labels, value)
    return metric
