"""The metrics of one process of a service: what every service has, and where its own are made."""

import os
from pathlib import Path
from typing import Any

from servicekit.concurrency.coalescer import Coalescer, FlushObserver
from servicekit.concurrency.concurrency_limit import concurrency_limit
from servicekit.database.lease import unknown_commits
from servicekit.database.pool import Database
from servicekit.metrics.cells import Cells, Counter
from servicekit.metrics.families import counter, gauge, histogram
from servicekit.metrics.http import ACTIVE_REQUESTS, SERVER_DURATION, RequestDurations
from servicekit.metrics.sampling import Samples

# By it the process that answers scrapes tells its workers where their numbers go. No operator sets it.
FOLDER_VARIABLE = "METRICS_FOLDER"

_ITEMS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_FLUSH_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class ServiceMetrics:
    """Makes the series of a process. If nobody scrapes the service, it counts all the same, which costs nothing."""

    def __init__(self, namespace: str, *, version: str) -> None:
        """`namespace` is what the names begin with, but for those of OpenTelemetry."""
        folder = os.environ.get(FOLDER_VARIABLE)
        self.cells = Cells(Path(folder) if folder else None)
        self.samples = Samples(self.cells)
        self._durations = RequestDurations(self.cells, SERVER_DURATION)
        self.observe_request = self._durations.observe
        self._shed = counter(f"{namespace}_shed_total", "Requests that were refused because of load.", "reason")
        self._connections = gauge(f"{namespace}_db_pool_connections", "Connections to a database.", "database", "state")
        self._queue = gauge(f"{namespace}_coalescer_queue_items", "Events that wait for a flush.", "kind")
        self._queue_max = gauge(f"{namespace}_coalescer_queue_items_max", "Events that may wait in a queue.", "kind")
        self._flush_items = histogram(f"{namespace}_coalescer_flush_items", "Events of a flush.", "kind", bounds=_ITEMS)
        self._flush_seconds = histogram(
            f"{namespace}_coalescer_flush_seconds", "Duration of a flush.", "kind", bounds=_FLUSH_SECONDS
        )
        self._unknown = counter(
            f"{namespace}_outcome_unknown_total", "Events of which it is not known whether they are stored.", "kind"
        )
        self.cells.gauge(gauge(f"{namespace}_build_info", "One for each process.", "version"), version).set(1)
        self.samples.add(
            counter(f"{namespace}_commit_unknown_total", "Commits that a database did not confirm; they are repeated."),
            read=lambda: unknown_commits.number,
        )
        self.samples.add(ACTIVE_REQUESTS, read=lambda: concurrency_limit.started)
        self._queues: list[Coalescer[Any, Any]] = []
        self.samples.add(self._shed, "in_flight", read=lambda: concurrency_limit.refused)
        self.samples.add(self._shed, "queue", read=lambda: sum(each.refused for each in self._queues))

    def shed(self, reason: str) -> Counter:
        """Return the counter of requests that were refused for this reason."""
        return self.cells.counter(self._shed, reason)

    def database(self, name: str, pool: Database) -> None:
        """Show the connections of a pool."""
        self.samples.add(self._connections, name, "used", read=lambda: pool.connections.used)
        self.samples.add(self._connections, name, "idle", read=lambda: pool.connections.idle)

    def flushes(self, kind: str) -> FlushObserver:
        """Return what is to be told of each flush of a kind."""
        items = self.cells.histogram(self._flush_items, kind)
        seconds = self.cells.histogram(self._flush_seconds, kind)
        unknown = self.cells.counter(self._unknown, kind)

        def observe(flushed: int, duration: float, unknown_outcomes: int) -> None:
            items.observe(flushed)
            seconds.observe(duration)
            unknown.add(unknown_outcomes)

        return observe

    def queue(self, kind: str, coalescer: Coalescer[Any, Any]) -> None:
        """Show the queue of a kind, and what it refuses."""
        self.cells.gauge(self._queue_max, kind).set(coalescer.limits.queue_rows_max)
        self.samples.add(self._queue, kind, read=lambda: len(coalescer))
        self._queues.append(coalescer)
