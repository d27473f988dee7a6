"""Figures of API requests, made of sums over cells of response time: counts, errors, averages, percentiles."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from contract.api_requests.events import MICROSECONDS
from contract.api_requests.latency import CELLS_OF_BAND, LATENCY_BOUNDS, cell_middle, cell_range

PERCENTS_OF_POINT = (50, 95, 99)
_TOLERATED = 4  # times the threshold: up to there, a slow request counts half


# By number; the first cell is 1.
_MIDDLES = (0.0, *map(cell_middle, range(1, len(LATENCY_BOUNDS) + 1)))
_CELL_MAX = len(LATENCY_BOUNDS)


class Band(NamedTuple):
    """Some requests in a band of neighbouring cells, and `before`, the number of those in all faster bands.

    `cells` has the number in each of CELLS_OF_BAND cells, from cell `number * CELLS_OF_BAND`.
    """

    number: int
    before: int
    requests: int
    cells: Sequence[int]

    def cell_at(self, rank: int) -> int:
        """Return the cell that has the request of this rank among all, which is one of the band's."""
        # In half of the time that a loop takes. The points of a day's minutes ask 4,000 times.
        return self.number * CELLS_OF_BAND + bisect_left(list(accumulate(self.cells)), rank - self.before)

    def counts(self) -> Iterator[tuple[int, int]]:
        """Each cell that has requests, the fastest first, and their number."""
        return ((cell, count) for cell, count in enumerate(self.cells, self.number * CELLS_OF_BAND) if count)


class Point(NamedTuple):
    """The figures of a point of a series, as `contract.api_requests.metrics.SeriesPoint` names them."""

    request_count: int
    avg_response_time_ms: float | None
    error_count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    client_error_count: int
    server_error_count: int


class Figures(NamedTuple):
    """What is known of some requests. Times are None where there are no requests.

    `client_errors` have a status from 400 to 499, `server_errors` one from 500 to 599. Stored times are in
    microseconds. `bands` are all bands of the requests, the fastest first; for percentiles alone, those of their ranks
    are enough.
    """

    requests: int
    client_errors: int
    server_errors: int
    us_sum: int
    us_min: int
    us_max: int
    bands: Sequence[Band]

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
        for band in self.bands:
            if band.before < rank <= band.before + band.requests:
                return self._value(band.cell_at(rank)) / MICROSECONDS
        return None

    def point(self) -> Point:
        """Return what a series shows."""
        p50, p95, p99 = map(self.percentile_ms, PERCENTS_OF_POINT)
        errors = (self.client_errors, self.server_errors)
        return Point(self.requests, self.average_ms, self.errors, p50, p95, p99, *errors)

    def apdex(self, threshold_ms: int) -> float | None:
        """Return the index of satisfaction, from 0 to 1: a request within the threshold counts 1, one within four times
        the threshold counts a half. A cell that the threshold divides is counted by its value.
        """
        if not self.requests:
            return None
        threshold = threshold_ms * MICROSECONDS
        satisfied = self._requests_within(threshold)
        return (satisfied + self._requests_within(_TOLERATED * threshold)) / 2 / self.requests

    def distribution(self) -> list[tuple[float, float, int]]:
        """Return the cells that have requests, the fastest first: both ends, which are included, and the number."""
        ranges = ((cell_range(cell), count) for band in self.bands for cell, count in band.counts())
        return [(first / MICROSECONDS, last / MICROSECONDS, count) for (first, last), count in ranges]

    def _requests_within(self, us: int) -> int:
        # The values of cells grow with their numbers, so most bands are whole on one side.
        found = 0
        for band in self.bands:
            first = band.number * CELLS_OF_BAND
            if self._value(min(first + CELLS_OF_BAND - 1, _CELL_MAX)) <= us:
                found += band.requests
            elif self._value(first) <= us:
                found += sum(count for cell, count in band.counts() if self._value(cell) <= us)
        return found

    def _value(self, cell: int) -> float:
        """Return the value of a cell, in microseconds; it is never beyond the extremes."""
        return min(max(_MIDDLES[cell], self.us_min), self.us_max)


NOTHING = Figures(0, 0, 0, 0, 0, 0, ())
"""The figures of no requests."""
NO_POINT = NOTHING.point()
"""The point of a bucket without requests."""
