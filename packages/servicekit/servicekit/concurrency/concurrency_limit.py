"""The limit of requests in flight in one process: fixed at first, adaptive while the process is overloaded."""

import math
import time
from collections.abc import Callable

# During overload the limit shrinks while a flush takes longer than this multiple of a nearly empty one.
LATENCY_RATIO_MAX = 2.0
# A flush of at most this many items counts as nearly empty.
BASELINE_ITEMS_MAX = 8
# The limit never falls below this: smaller flushes would not be worth their fixed cost.
IN_FLIGHT_MIN = 96
# The full limit is restored this many seconds after it was last reached.
OVERLOAD_SECONDS = 30.0
# The limit changes by at most these factors after one flush.
_SHRINK, _GROW = 0.7, 1.1
# Weight of one nearly empty flush in the moving average of their duration.
_EWMA_WEIGHT = 1 / 64


class AdaptiveConcurrencyLimit:
    """Counts the requests in flight, and tells when there are too many.

    Up to `in_flight_max`, every request is accepted, however long it takes: the requests may be a burst, or come from
    many patient clients. When that limit is reached, the process is overloaded, and a longer queue does not increase
    its throughput. So for the next `OVERLOAD_SECONDS` the limit follows the duration of the flushes. It falls while
    they take more than `LATENCY_RATIO_MAX` times as long as a nearly empty flush usually takes, and rises while they
    take less (docs/decisions/0014-adaptive-concurrency-limit.md). Readings of `clock` are in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._in_flight_max: float = math.inf
        self._limit = self._in_flight_max
        self._baseline_seconds: float | None = None
        self._overloaded_until = -math.inf
        # `started`: requests that were started and are not answered. `receiving`: those of them that have an
        # incomplete body. Both numbers are maintained and not computed on each read, because overload reads them most.
        self.started = 0
        self.receiving = 0
        # Requests that were refused since the process began.
        self.refused = 0

    def configure(self, in_flight_max: int) -> None:
        """Set the full limit; called before the first request, and harmless when repeated."""
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
