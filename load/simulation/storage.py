"""PostgreSQL: one server, or a coordinator of Citus with workers."""

from collections.abc import Generator
from random import Random
from typing import Protocol

from simpy import AllOf, Environment, Event, Resource

from device_registration_api.events.following import FACTS_MAX, FOLLOW_SECONDS
from load.simulation.costs import CitusCosts, Pauses, Quantiles
from load.simulation.scheduling import Cores

_SECONDS = 1e-6

Steps = Generator[Event, object, None]


class Draws:
    """Draws from what was measured; the same seed draws the same."""

    def __init__(self, seed: int, variation: Quantiles) -> None:
        self.random = Random(seed)  # noqa: S311 - not a secret
        self._variation = variation

    def variation(self) -> float:
        """How long a transaction takes, in units of the median."""
        return self.quantile(self._variation)

    def quantile(self, quantiles: Quantiles) -> float:
        """A value with this distribution."""
        place = self.random.random() * (len(quantiles) - 1)
        below = int(place)
        return quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below])


class Disk:
    """Flushes to a disk. Now and then it pauses, whether or not it is asked for a flush."""

    def __init__(self, commit: Quantiles, pauses: Pauses, draws: Draws) -> None:
        self._commit = commit
        self._pauses = pauses
        self._draws = draws
        self._pause_begins = self._gap()

    def flush_seconds(self, begun: float) -> float:
        """How long a flush takes that begins at this time; each begins after the end of the one before."""
        seconds = self._draws.quantile(self._commit) * _SECONDS
        while self._pause_begins < begun + seconds:
            pause_ends = self._pause_begins + self._draws.quantile(self._pauses.lengths) * _SECONDS
            # What is left of the flush when the pause begins comes after it.
            seconds += max(0.0, pause_ends - max(begun, self._pause_begins))
            self._pause_begins = pause_ends + self._gap()
        return seconds

    def _gap(self) -> float:
        rate = self._pauses.per_second
        return self._draws.random.expovariate(rate) if rate else float("inf")


class Log:
    """The write-ahead log: while one flush to the disk runs, commits wait; the next flush is for all of them."""

    def __init__(self, env: Environment, disk: Disk) -> None:
        self._env = env
        self._disk = disk
        self._waiting: list[Event] = []
        self._is_flushing = False
        self.busy_seconds = 0.0

    def flush(self) -> Event:
        """Return an event that succeeds when what is written so far is on the disk."""
        done = self._env.event()
        self._waiting.append(done)
        if not self._is_flushing:
            self._env.process(self._flush_all())
        return done

    def _flush_all(self) -> Steps:
        self._is_flushing = True
        while self._waiting:
            flushed, self._waiting = self._waiting, []
            seconds = self._disk.flush_seconds(self._env.now)
            self.busy_seconds += seconds
            yield self._env.timeout(seconds)
            for done in flushed:
                done.succeed()
        self._is_flushing = False


class Storage(Protocol):
    """Where transactions are committed."""

    follower: "Follower"

    def commit(self, slot: int, flush_seconds: float, events_seconds: float) -> Steps:
        """Store events, which takes `events_seconds`, then count them, which takes `flush_seconds`, and commit.

        No other transaction has the rows of the slot from their count to the commit.
        """

    def utilisations(self) -> dict[str, float]:
        """The busy seconds of each part, of one core or one disk, by its name."""


class PostgreSQL:
    """One server."""

    def __init__(
        self, env: Environment, cores: Cores, number: float, *, log: Log, slots: int, follower: "Follower"
    ) -> None:
        self.follower = follower
        self.cores = cores
        self._number = number
        self.log = log
        self.slots = [Resource(env) for _ in range(slots)]

    def commit(self, slot: int, flush_seconds: float, events_seconds: float) -> Steps:
        """One core at a time; see Storage."""
        yield self.cores.wait(events_seconds)
        with self.slots[slot].request() as counts:
            yield counts
            yield self.cores.wait(flush_seconds)
            yield self.log.flush()

    def utilisations(self) -> dict[str, float]:
        """See Storage."""
        return {
            "PostgreSQL's cores": self.cores.busy_seconds / self._number,
            "PostgreSQL's disk": self.log.busy_seconds,
        }


class Follower:
    """Stores presences after the facts: it looks every few seconds, and takes what was recorded since."""

    def __init__(self, env: Environment, cores: Cores, seconds_each: float) -> None:
        self.left = 0
        if seconds_each:
            env.process(self._follow(env, cores, seconds_each))

    def _follow(self, env: Environment, cores: Cores, seconds_each: float) -> Steps:
        while True:
            yield env.timeout(FOLLOW_SECONDS)
            while self.left:
                facts = min(self.left, FACTS_MAX)
                self.left -= facts
                yield cores.wait(facts * seconds_each)


class Citus:
    """Facts on all workers, rollups on the coordinator; each transaction is a two-phase commit over all of them."""

    def __init__(
        self,
        env: Environment,
        coordinator: PostgreSQL,
        workers: list[tuple[Cores, Log]],
        *,
        number: float,
        costs: CitusCosts,
        network_seconds: float,
    ) -> None:
        """Each worker has `number` cores."""
        self.follower = coordinator.follower
        self._env = env
        self._coordinator, self._log, self._slots = coordinator.cores, coordinator.log, coordinator.slots
        self._workers = workers
        self._number = number
        self._costs = costs
        self._network_seconds = network_seconds

    def commit(self, slot: int, flush_seconds: float, events_seconds: float) -> Steps:
        """Copy to the workers, count, prepare on each worker, commit; see Storage."""
        costs, workers = self._costs, len(self._workers)
        yield self._coordinator.wait(costs.coordinator_event * events_seconds)
        store = costs.worker_flush * flush_seconds + costs.worker_event * events_seconds / workers
        yield self._on_each(store)
        with self._slots[slot].request() as counts:
            yield counts
            each_flush = costs.coordinator_flush + costs.coordinator_flush_each_worker * workers
            yield self._coordinator.wait(each_flush * flush_seconds)
            yield self._on_each(0.0)  # PREPARE
            yield self._log.flush()
            yield self._on_each(0.0)  # COMMIT PREPARED

    def utilisations(self) -> dict[str, float]:
        """See Storage."""
        return {
            "the coordinator's cores": self._coordinator.busy_seconds / self._number,
            "the coordinator's disk": self._log.busy_seconds,
            "the workers' cores": max(cores.busy_seconds for cores, _ in self._workers) / self._number,
            "the workers' disks": max(log.busy_seconds for _, log in self._workers),
        }

    def _on_each(self, seconds: float) -> Event:
        return AllOf(self._env, [self._env.process(self._work(cores, log, seconds)) for cores, log in self._workers])

    def _work(self, cores: Cores, log: Log, seconds: float) -> Steps:
        yield self._env.timeout(self._network_seconds)
        if seconds:
            yield cores.wait(seconds)
        else:
            yield log.flush()
        yield self._env.timeout(self._network_seconds)
