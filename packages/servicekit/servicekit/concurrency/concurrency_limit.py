"""How many requests may be in flight in this process at once: a houseful for a while, fewer in a lasting overload."""

import math
import time
from collections.abc import Callable

# While overloaded, a flush may take so many times what one takes that has little to carry.
LATENCY_RATIO_MAX = 2.0
# A flush of so many items at the most has little to carry.
BASELINE_ITEMS_MAX = 8
# Fewer than these are never admitted for want of speed: flushes would carry too little to be worth their cost.
IN_FLIGHT_MIN = 96
# So long after the house was full, it is opened whole again.
OVERLOAD_SECONDS = 30.0
# By these factors at the most the limit follows one flush.
_SHRINK, _GROW = 0.7, 1.1
# Of each flush that carries little, in what one usually takes.
_EWMA_WEIGHT = 1 / 64


class AdaptiveConcurrencyLimit:
    """Counts what is in flight, and says when it is too much.

    Up to `in_flight_max` requests, everybody is served, however long it takes: a burst, or many clients that are
    patient. Once that is too little, the process is overloaded. A longer queue would not get more done now, only
    later, so for the next `OVERLOAD_SECONDS` the limit follows the flushes: it falls while they take more than
    `LATENCY_RATIO_MAX` times what a nearly empty one usually takes, and rises while they take less
    (docs/decisions/0014-adaptive-concurrency-limit.md). Readings of `clock` are in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight_max: float = math.inf
        self._limit = self._in_flight_max
        self._baseline_seconds: float | None = None
        self._overloaded_until = -math.inf
        # Requests that were started and have no answer, and those of them whose bodies are not whole yet. Kept, not
        # counted when asked for: under overload, that is what this process does most.
        self.started = 0
        self.receiving = 0

    def configure(self, in_flight_max: int) -> None:
        """Set the size of the house; to be called before the first request, and harmless when repeated."""
        if self._in_flight_max != in_flight_max:
            self._in_flight_max = self._limit = in_flight_max

    @property
    def limit(self) -> float:
        """Requests that may be in flight now."""
        return self._limit

    def is_exceeded(self) -> bool:
        """Whether one more request would be one too many."""
        in_flight = self.started - self.receiving
        if in_flight < self._limit:
            return False
        now = self._clock()
        if now >= self._overloaded_until:
            self._limit = self._in_flight_max
            if in_flight < self._limit:
                return False
            self._overloaded_until = now + OVERLOAD_SECONDS
        return True

    def observe(self, items: int, seconds: float) -> None:
        """A flush of `items` succeeded after `seconds`."""
        if items <= BASELINE_ITEMS_MAX:
            baseline = seconds if self._baseline_seconds is None else self._baseline_seconds
            self._baseline_seconds = baseline + (seconds - baseline) * _EWMA_WEIGHT
        if self._baseline_seconds is not None and self._clock() < self._overloaded_until:
            ratio = LATENCY_RATIO_MAX * self._baseline_seconds / max(seconds, 1e-9)
            followed = self._limit * min(_GROW, max(_SHRINK, ratio))
            self._limit = min(self._in_flight_max, max(IN_FLIGHT_MIN, followed))


# State of the process, as its event loop is.
concurrency_limit = AdaptiveConcurrencyLimit()
