"""The cells of response times. Requests are counted by cell, so percentiles of any range are sums over cells.

Both ends of a cell are within a factor of 101/99 of each other, so the value 2·lo·hi/(lo+hi) of a cell is within 1 % of
each time in it. The bounds are whole microseconds: no two languages disagree about the cell of a time.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import LiteralString

RESPONSE_US_MAX = 3_600_000_000
# The columns of the cells that a stored row has beside each other: cell n of a band is in the column `cell_n`.
CELLS: Sequence[LiteralString] = (
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
    "16", "17", "18", "19", "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31",
)  # fmt: skip
CELLS_OF_BAND = len(CELLS)
_EXACT_US_MAX = 50


def _bounds() -> tuple[int, ...]:
    bounds = list(range(_EXACT_US_MAX + 1))
    while (following := max(bounds[-1] + 1, bounds[-1] * 101 // 99)) <= RESPONSE_US_MAX:
        bounds.append(following)
    return tuple(bounds)


# The first time of each cell, in microseconds; the database has the same list in latency_bounds().
LATENCY_BOUNDS = _bounds()


def latency_cell(response_us: int) -> int:
    """Return the number of the cell that holds this time, from 1; it is width_bucket of the database."""
    return bisect_right(LATENCY_BOUNDS, response_us)


def cell_range(cell: int) -> tuple[int, int]:
    """Return the first and the last time of a cell, in microseconds."""
    last = LATENCY_BOUNDS[cell] - 1 if cell < len(LATENCY_BOUNDS) else RESPONSE_US_MAX
    return LATENCY_BOUNDS[cell - 1], last


def cell_middle(cell: int) -> float:
    """Return the value, in microseconds, that is equally near to both ends of a cell."""
    first, last = cell_range(cell)
    return 2 * first * last / (first + last) if last else 0.0
