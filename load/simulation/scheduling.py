"""Processes that share the cores of a machine, in simulated time; seconds everywhere."""

from collections import deque
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count
from typing import TypeAlias

from simpy import Environment, Event

Then: TypeAlias = Callable[[], None]

# What rounding may add to a sum of a million readings.
_ROUNDING_SECONDS = 1e-12


def after(env: Environment, seconds: float, then: Then) -> None:
    """Call `then` after a time; at once if there is none."""
    if seconds <= 0:
        then()
    else:
        _callbacks(env.timeout(seconds)).append(lambda _: then())


def _callbacks(event: Event) -> list[Callable[[Event], None]]:
    # simpy's are typed as optional, because a processed event has none.
    callbacks: list[Callable[[Event], None]] | None = event.callbacks
    assert callbacks is not None  # noqa: S101 - it is new
    return callbacks


class Cores:
    """The cores of one machine, which everything that runs on it shares evenly, as the scheduler of Linux does.

    Of n that run, each has a core of its own, or a share of `number` / n. What has run is kept as one number, the
    processor time that each of them has had, so a change costs the same for any n.
    """

    def __init__(self, env: Environment, number: float) -> None:
        self._env = env
        self._number = number
        self._numbers = count()
        # What runs, by the value of `_each_had` at which it ends.
        self._running: list[tuple[float, int, Then]] = []
        self._each_had = 0.0
        self._at = 0.0
        self._timer = 0
        self._is_ending = False
        # Processor time, of all that ran.
        self.busy_seconds = 0.0

    def run(self, seconds: float, then: Then) -> None:
        """Call `then` when the caller has had this much processor time."""
        self._advance()
        first = self._running[0] if self._running else None
        rate = self._rate()
        heappush(self._running, (self._each_had + seconds, next(self._numbers), then))
        if not self._is_ending and (self._running[0] is not first or self._rate() != rate):
            self._set_timer()

    def wait(self, seconds: float) -> Event:
        """Return an event that succeeds after this much processor time."""
        event = self._env.event()

        def succeed() -> None:
            event.succeed()

        self.run(seconds, succeed)
        return event

    def _rate(self) -> float:
        return min(1.0, self._number / max(1, len(self._running)))

    def _advance(self) -> None:
        now = self._env.now
        if self._running:
            had = (now - self._at) * self._rate()
            self._each_had += had
            self.busy_seconds += had * len(self._running)
        self._at = now

    def _set_timer(self) -> None:
        self._timer += 1
        left = (self._running[0][0] - self._each_had) / self._rate()
        _callbacks(self._env.timeout(max(0.0, left))).append(partial(self._end, self._timer))

    def _end(self, timer: int, _: Event) -> None:
        if timer != self._timer:
            return  # a later one took its place
        self._advance()
        self._is_ending = True
        self._each_had = max(self._each_had, self._running[0][0])
        while self._running and self._running[0][0] <= self._each_had + _ROUNDING_SECONDS:
            heappop(self._running)[2]()
        self._is_ending = False
        if self._running:
            self._set_timer()


class Process:
    """Does one piece of work at a time, in the order in which it was told. If it sleeps, it has to be woken first."""

    def __init__(self, env: Environment, cores: Cores, wake_seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._env = env
        self._cores = cores
        self._wake_seconds = wake_seconds
        self._queue: deque[tuple[float, Then]] = deque()
        self._is_awake = False
        self.busy_seconds = 0.0

    def do(self, seconds: float, then: Then) -> None:
        """Work for so much processor time after what is queued, then call `then`."""
        self._queue.append((seconds, then))
        if not self._is_awake:
            self._is_awake = True
            after(self._env, self._wake_seconds(), self._next)

    def do_in_slices(self, seconds: float, slice_seconds: float, then: Then) -> None:
        """The same for long work that lets the rest of the queue run after each slice."""
        if seconds <= slice_seconds:
            self.do(seconds, then)
        else:
            self.do(slice_seconds, lambda: self.do_in_slices(seconds - slice_seconds, slice_seconds, then))

    def _next(self) -> None:
        while self._queue:
            seconds, then = self._queue.popleft()
            if seconds > 0:
                self.busy_seconds += seconds
                self._cores.run(seconds, partial(self._finish, then))
                return
            then()
        self._is_awake = False

    def _finish(self, then: Then) -> None:
        then()
        self._next()
