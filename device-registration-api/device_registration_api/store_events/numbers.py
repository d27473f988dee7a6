"""Takes the numbers of store events from their sequence before they are stored, so that the rows need not be read back.

They are taken in blocks. What a process has left when it ends is never used: the numbers have gaps anyway, because a
repeat may use none.
"""

import threading
from collections.abc import Iterator
from itertools import islice

from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

BLOCK = 1_000

# One row: Python reads an array in a fraction of the time of as many rows.
NEXT = "SELECT array_agg(nextval('store_event_number')) FROM generate_series(1, %(count)s)"


class EventNumbers:
    """The numbers that this process has taken and not used. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unused: Iterator[int] = iter(())

    def take(self, lease: Lease, count: int) -> list[int]:
        """Return this many numbers that no other event has."""
        with self._lock:
            taken = list(islice(self._unused, count))
        if len(taken) < count:
            missing = count - len(taken)
            with lease.transaction() as conn:
                [block] = fetch_all(conn, NEXT, {"count": max(BLOCK, missing)}, _numbers)
            taken += block[:missing]
            with self._lock:
                # Another thread may have taken a block meanwhile; the rest of that one stays unused.
                self._unused = iter(block[missing:])
        return taken


def _numbers(taken: list[int]) -> list[int]:
    return taken
