"""Figures of API requests, made of sums over cells of response time: counts, errors, averages, percentiles."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from contract.api_requests.events import MICROSECONDS
from contract.api_requests.latency import cell_range

_CLIENT_ERROR = 4
_SERVER_ERROR = 5
_TOLERATED = 4  # times the threshold: up to there, a slow request counts half


class CellSum(NamedTuple):
    """The requests of one class of status in one cell; times are in microseconds."""

    status_class: int
    cell: int
    requests: int
    us_sum: int
    us_min: int
    us_max: int


@dataclass(frozen=True, slots=True)
class CellCount:
    """The requests whose time was from `from_ms` to `to_ms`, both included."""

    from_ms: float
    to_ms: float
    count: int


class Figures(NamedTuple):
    """What is known of some requests. Times are None where there are no requests."""

    by_class: Counter[int]
    by_cell: Counter[int]
    us_sum: int
    us_min: int
    us_max: int

    @classmethod
    def of(cls, sums: Iterable[CellSum]) -> Self:
        """Put sums of any ranges and classes together."""
        by_class: Counter[int] = Counter()
        by_cell: Counter[int] = Counter()
        found = list(sums)
        for each in found:
            by_class[each.status_class] += each.requests
            by_cell[each.cell] += each.requests
        return cls(
            by_class,
            by_cell,
            sum(each.us_sum for each in found),
            min((each.us_min for each in found), default=0),
            max((each.us_max for each in found), default=0),
        )

    @property
    def requests(self) -> int:
        """The number of requests."""
        return self.by_class.total()

    @property
    def client_errors(self) -> int:
        """The requests with a status from 400 to 499."""
        return self.by_class[_CLIENT_ERROR]

    @property
    def server_errors(self) -> int:
        """The requests with a status from 500 to 599."""
        return self.by_class[_SERVER_ERROR]

    @property
    def error_rate(self) -> float:
        """The percentage of requests with a status of 400 or more; 0 without requests."""
        errors = self.client_errors + self.server_errors
        return 100 * errors / self.requests if self.requests else 0.0

    @property
    def average_ms(self) -> float | None:
        """The exact average."""
        return self.us_sum / (self.requests * MICROSECONDS) if self.requests else None

    def percentile_ms(self, percent: int) -> float | None:
        """Return a value within 1 % of the time at rank ceil(percent / 100 * requests)."""
        rank = -(-percent * self.requests // 100)
        for cell in sorted(self.by_cell):
            rank -= self.by_cell[cell]
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

    def distribution(self) -> list[CellCount]:
        """Return the cells that have requests, the fastest first."""
        ranges = ((cell_range(cell), count) for cell, count in sorted(self.by_cell.items()) if count)
        return [CellCount(first / MICROSECONDS, last / MICROSECONDS, count) for (first, last), count in ranges]

    def _value(self, cell: int) -> float:
        """Return the value, in microseconds, that is equally near to both ends of a cell; never beyond the extremes."""
        first, last = cell_range(cell)
        value = 2 * first * last / (first + last) if last else 0.0
        return min(max(value, self.us_min), self.us_max)
