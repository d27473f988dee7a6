"""Long work on the event loop, in slices, so that everybody else gets a turn."""

import asyncio
import time

# A request of another client meets a slice once, and a few times more in the turns that its own work takes.
SLICE_SECONDS_MAX = 0.005


class TimeSlice:
    """Tells long work when its turn of the event loop is over.

        if time_slice.is_over():
            await time_slice.next_turn()

    The two are apart because work asks after every item, and awaiting costs more than most items.
    """

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE_SECONDS_MAX

    def is_over(self) -> bool:
        """Whether others are to have their turn."""
        return time.perf_counter() >= self._ends

    async def next_turn(self) -> None:
        """Let everything else run that is ready, then begin a new slice."""
        await asyncio.sleep(0)
        self._ends = time.perf_counter() + SLICE_SECONDS_MAX
