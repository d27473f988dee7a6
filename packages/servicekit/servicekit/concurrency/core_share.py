"""Whether the event loop has a processor core to itself whenever it has something to do."""

import time
from collections.abc import Callable

# A thread that got less of the measured time than this shares its core with others, or waits for one.
SHARE_MIN = 0.9
# What is left of a measurement at the next one: the last ten or so count.
_KEPT = 0.9


class CoreShare:
    """The share of its own running time in which the calling thread really ran, over the last measurements.

    Measure only code that never waits for anything but a core: turns of an event loop that has callbacks ready.
    """

    def __init__(
        self, wall: Callable[[], float] = time.perf_counter, thread: Callable[[], float] = time.thread_time
    ) -> None:
        """`wall` and `thread` return seconds: those that passed, and those that this thread ran."""
        self._clocks = wall, thread
        self._passed = 0.0
        self._ran = 0.0

    @property
    def is_whole(self) -> bool:
        """False as long as nothing was measured."""
        return self._ran >= SHARE_MIN * self._passed > 0

    def reading(self) -> tuple[float, float]:
        """Return what both clocks show, for `add`."""
        wall, thread = self._clocks
        return wall(), thread()

    def add(self, since: tuple[float, float]) -> None:
        """Measure what was done since that reading."""
        passed, ran = (now - then for now, then in zip(self.reading(), since, strict=True))
        self._passed = _KEPT * self._passed + passed
        self._ran = _KEPT * self._ran + ran
