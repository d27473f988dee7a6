"""Figures of API requests, made of sums over cells of response time: counts, errors, averages, percentiles."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from contract.api_requests.events import MICROSECONDS
from contract.api_requests.latency import cell_range

_TOLERATED = 4  # times the threshold: up to there, a slow request counts half


class CellSums(NamedTuple):
    """Some requests: `requests` has the number in each of `cells`. Times are in microseconds."""

    cells: Sequence[int]
    requests: Sequence[int]
    client_errors: int
    server_errors: int
    us_sum: int
    us_min: int
    us_max: int


NO_REQUESTS = CellSums((), (), 0, 0, 0, 0, 0)


class Figures(NamedTuple):
    """What is known of some requests. Times are None where there are no requests.

    `client_errors` have a status from 400 to 499, `server_errors` one from 500 to 599.
    """

    requests: int
    client_errors: int
    server_errors: int
    # In the order of the cells.
    by_cell: dict[int, int]
    us_sum: int
    us_min: int
    us_max: int

    @classmethod
    def of(cls, sums: CellSums) -> Self:
        """Put the entries together; they may be in any order."""
        by_cell: dict[int, int] = dict.fromkeys(sorted(set(sums.cells)), 0)
        for cell, requests in zip(sums.cells, sums.requests, strict=True):
            by_cell[cell] += requests
        total = sum(sums.requests)
        return cls(total, sums.client_errors, sums.server_errors, by_cell, sums.us_sum, sums.us_min, sums.us_max)

    @property
    def errors(self) -> int:
        """The requests with a status of 400 or more."""
        return self.client_errors + self.server_errors

    @property
    def error_rate(self) -> float:
        """The percentage of requests with a status of 400 or more; 0 without requests."""
        return 100 * self.errors / self.requests if self.requests else 0.0

    @property
    def average_ms(self) -> float | None:
        """The exact average."""
        return self.us_sum / (self.requests * MICROSECONDS) if self.requests else None

    @property
    def fastest_ms(self) -> float | None:
        """The least time."""
        return self.us_min / MICROSECONDS if self.requests else None

    @property
    def slowest_ms(self) -> float | None:
        """The greatest time."""
        return self.us_max / MICROSECONDS if self.requests else None

    def percentile_ms(self, percent: int) -> float | None:
        """Return a value within 1 % of the time at rank ceil(percent / 100 * requests); the last one is exact."""
        rank = -(-percent * self.requests // 100)
        if rank == self.requests:
            return self.slowest_ms
        for cell, count in self.by_cell.items():
            rank -= count
            if rank <= 0:
                return self._value(cell) / MICROSECONDS
        return None

    def apdex(self, threshold_ms: int) -> float | None:
        """Return the index of satisfaction, from 0 to 1: a request within the threshold counts 1, one within four times
        the threshold counts a half. A cell that the threshold divides is counted by its value.
        """
        if not self.requests:
            return None
        threshold = threshold_ms * MICROSECONDS
        values = [(self._value(cell), count) for cell, count in self.by_cell.items()]
        satisfied = sum(count for value, count in values if value <= threshold)
        tolerating = sum(count for value, count in values if threshold < value <= _TOLERATED * threshold)
        return (satisfied + tolerating / 2) / self.requests

    def distribution(self) -> list[tuple[float, float, int]]:
        """Return the cells that have requests, the fastest first: both ends, which are included, and the number."""
        ranges = ((cell_range(cell), count) for cell, count in self.by_cell.items() if count)
        return [(first / MICROSECONDS, last / MICROSECONDS, count) for (first, last), count in ranges]

    def _value(self, cell: int) -> float:
        """Return the value, in microseconds, that is equally near to both ends of a cell; never beyond the extremes."""
        first, last = cell_range(cell)
        value = 2 * first * last / (first + last) if last else 0.0
        return min(max(value, self.us_min), self.us_max)
