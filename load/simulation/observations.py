"""What is seen of the requests of a simulation between the end of its warm-up and its own end."""

from typing import NamedTuple

from simpy import Environment, Event

# Responses that are simulated for each answer that is to be observed: the others are refusals.
_RESPONSES_MAX = 4


class Observer:
    """Counts requests, from the moment at which one should be sent to its response."""

    def __init__(self, env: Environment, *, warm_up: int, requests: int) -> None:
        """Observes `requests` answers after the first `warm_up`; or four times as many responses, in an overload."""
        self._env = env
        self._warm_up = warm_up
        self._requests = requests
        self.began: Event = env.event()
        self.ended: Event = env.event()
        self.sent = self.answered = self.refused = 0
        self._refused_before = 0
        self._in_flight_seconds = 0.0
        self._at = self.begin = self.end = 0.0
        self.latencies: list[float] = []

    @property
    def in_flight(self) -> int:
        """Requests that were sent and have no response."""
        return self.sent - self.answered - self.refused

    def send(self) -> None:
        """One more request is due."""
        self._advance()
        self.sent += 1

    def answer(self, since: float) -> None:
        """A request that was due at `since` is answered."""
        self._advance()
        self.answered += 1
        if self.began.triggered and not self.ended.triggered:
            self.latencies.append(self._env.now - since)
        self._look()

    def refuse(self) -> None:
        """A request is refused because of load."""
        self._advance()
        self.refused += 1
        self._look()

    @property
    def seconds(self) -> float:
        """The length of the observation."""
        return self.end - self.begin

    @property
    def mean_in_flight(self) -> float:
        """Of the observation, by time."""
        return self._in_flight_seconds / self.seconds

    @property
    def refused_per_second(self) -> float:
        """Of the observation."""
        return (self.refused - self._refused_before) / self.seconds

    def _advance(self) -> None:
        now = self._env.now
        if self.began.triggered and not self.ended.triggered:
            self._in_flight_seconds += self.in_flight * (now - self._at)
        self._at = now

    def _look(self) -> None:
        if not self.began.triggered:
            if self._has_come(self._warm_up):
                self.begin = self._env.now
                self._refused_before = self.refused
                self.began.succeed()
        elif not self.ended.triggered and self._has_come(self._warm_up + self._requests):
            self.end = self._env.now
            self.ended.succeed()

    def _has_come(self, requests: int) -> bool:
        return self.answered >= requests or self.answered + self.refused >= _RESPONSES_MAX * requests


class Latencies(NamedTuple):
    """In milliseconds."""

    mean: float
    p50: float
    p99: float


def latencies(seconds: list[float]) -> Latencies:
    """The mean and two percentiles; zeros if there are none."""
    if not seconds:
        return Latencies(0.0, 0.0, 0.0)
    ordered = sorted(seconds)
    last = len(ordered) - 1
    return Latencies(
        1e3 * sum(ordered) / len(ordered), 1e3 * ordered[round(0.50 * last)], 1e3 * ordered[round(0.99 * last)]
    )
