"""The processes of both services, with the coalescer, the limits and the pool that the real ones have."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from simpy import Environment, Resource

from device_registration_api.events.writer import BATCH_ROWS_MAX
from device_registration_api.settings import Settings as PrivateSettings
from load.simulation.clients import Answered
from load.simulation.costs import KindCosts
from load.simulation.scheduling import Process, Then, after
from load.simulation.storage import Draws, Steps, Storage
from servicekit.concurrency.coalescer import TURNS_BETWEEN, first_group, is_other_group
from servicekit.concurrency.core_share import CoreShare
from servicekit.concurrency.time_slice import SLICE_SECONDS_MAX
from servicekit.service.settings import ServiceSettings
from statistics_api.delivery.gateway import FORWARD_ROWS_MAX

IN_FLIGHT_MAX: int = ServiceSettings.model_fields["in_flight_max"].default
CONNECTIONS_MAX: int = PrivateSettings.model_fields["db_connections_max"].default

_SECONDS = 1e-6

Item = TypeVar("Item")


class Delays(NamedTuple):
    """Seconds from a process to another one, on the same machine (drawn for each) and over the network."""

    wake: Callable[[], float]
    network: float


class Coalescer(Generic[Item]):
    """As servicekit.concurrency.coalescer: one flush at a time, of all that has queued meanwhile or of a half of it."""

    def __init__(
        self,
        env: Environment,
        process: Process,
        rows_max: int,
        weigh: Callable[[Item], int],
        flush: Callable[[Sequence[Item], Then], None],
    ) -> None:
        self._process = process
        self._core = CoreShare(lambda: env.now, lambda: process.busy_seconds)
        self._rows_max = rows_max
        self._weigh = weigh
        self._flush = flush
        self._queue: deque[Item] = deque()
        self._is_flushing = False
        self.flushes = 0
        self.rows = 0

    def begin(self, item: Item) -> None:
        """Queue an item."""
        self._queue.append(item)
        if not self._is_flushing:
            self._is_flushing = True
            # A task of its own.
            self._process.do(0.0, lambda: self._flush_next(len(self._queue)))

    def _flush_next(self, items_max: int) -> None:
        batch: list[Item] = []
        rows = 0
        while (
            self._queue
            and len(batch) < items_max
            and (not batch or rows + self._weigh(self._queue[0]) <= self._rows_max)
        ):
            batch.append(self._queue.popleft())
            rows += self._weigh(batch[-1])
        if batch:
            self.flushes += 1
            self.rows += rows
            self._flush(batch, self._flushed)
        else:
            self._is_flushing = False

    def _flushed(self) -> None:
        waiting = len(self._queue)
        if self._core.is_whole and is_other_group(waiting):
            self._turn(lambda: None)
            self._flush_next(waiting)
        else:
            self._turn(self._flush_first_group)

    def _flush_first_group(self) -> None:
        waiting = len(self._queue)
        self._flush_next(first_group(waiting) if self._core.is_whole else waiting)

    def _turn(self, then: Then) -> None:
        """Let the event loop turn: all that is ready comes first."""
        begun = self._core.reading()

        def turn(turns: int) -> None:
            if turns:
                self._process.do(0.0, partial(turn, turns - 1))
            else:
                self._core.add(begun)
                then()

        turn(TURNS_BETWEEN)


class Forward(NamedTuple):
    """Events in one request between the services, and what is called when they are committed."""

    events: int
    recorded: Then


class PrivateProcess:
    """A process of device-registration-api."""

    def __init__(
        self, env: Environment, process: Process, storage: Storage, slot: int, costs: KindCosts, draws: Draws,
        delays: Delays,
    ) -> None:  # fmt: skip
        self.process = process
        self._env = env
        self._storage = storage
        self._slot = slot
        self._costs = costs
        self._draws = draws
        self._delays = delays
        self._pool = Resource(env, CONNECTIONS_MAX)
        self.coalescer: Coalescer[Forward] = Coalescer(
            env, process, BATCH_ROWS_MAX, lambda forward: forward.events, self._flush
        )

    def forward(self, forward: Forward) -> None:
        """Read a forward, record it with all others that wait, and answer it."""
        single = self._costs.single
        seconds = (single.private_forward + single.private_event * forward.events) / 2 * _SECONDS
        self.process.do(seconds, lambda: self.coalescer.begin(forward))

    def batch(self, events: int, recorded: Then) -> None:
        """Record a client's batch in a transaction of its own."""
        seconds = self._costs.batch.private_event * events * _SECONDS

        def store() -> None:
            self._env.process(self._commit(events, 0.0, self._costs.batch.database_event * events * _SECONDS, recorded))

        self.process.do(seconds, store)

    def _flush(self, forwards: Sequence[Forward], ended: Then) -> None:
        single = self._costs.single
        events = sum(forward.events for forward in forwards)
        varied = self._draws.variation() * _SECONDS

        def committed() -> None:
            for forward in forwards:
                self.process.do(single.private_forward / 2 * _SECONDS, forward.recorded)
            self.process.do(0.0, ended)

        def store() -> None:
            self._env.process(
                self._commit(events, single.database_flush * varied, single.database_event * events * varied, committed)
            )

        self.process.do((single.private_flush + single.private_event * events / 2) * varied, store)

    def _commit(self, events: int, flush_seconds: float, events_seconds: float, committed: Then) -> Steps:
        with self._pool.request() as connection:
            yield connection
            # To the thread that has the connection, to PostgreSQL, and back to the thread.
            yield self._env.timeout(self._delays.wake() + self._delays.wake() + self._delays.network)
            yield from self._storage.commit(self._slot, flush_seconds, events_seconds)
            yield self._env.timeout(self._delays.wake() + self._delays.network)
        self._storage.follower.left += events
        self.process.do(0.0, committed)


class PublicProcess:
    """A process of statistics-api."""

    def __init__(
        self, env: Environment, process: Process, private: PrivateProcess, costs: KindCosts, network_seconds: float
    ) -> None:
        self.process = process
        self._env = env
        self._private = private
        self._costs = costs
        self._network_seconds = network_seconds
        self._in_flight = 0
        self.coalescer: Coalescer[Answered] = Coalescer(env, process, FORWARD_ROWS_MAX, lambda _: 1, self._flush)

    def record(self, answered: Answered) -> None:
        """One event."""
        seconds = self._costs.single.public_accept * _SECONDS
        self._admit(answered, lambda: self.process.do(seconds, lambda: self.coalescer.begin(answered)))

    def record_batch(self, events: int, answered: Answered) -> None:
        """One batch."""
        seconds = self._costs.batch.public_event * events * _SECONDS

        def recorded() -> None:
            self._over_network(lambda: self.process.do(0.0, partial(self._answer, answered)))

        def forward() -> None:
            self._over_network(lambda: self._private.batch(events, recorded))

        self._admit(answered, lambda: self.process.do_in_slices(seconds, SLICE_SECONDS_MAX, forward))

    def _admit(self, answered: Answered, begin: Then) -> None:
        # A refusal takes no time here; the real one takes a fifth to a third of an event's (docs/reliability.md).
        if self._in_flight >= IN_FLIGHT_MAX:
            self._over_network(answered.refused)
        else:
            self._in_flight += 1
            begin()

    def _answer(self, answered: Answered) -> None:
        self._in_flight -= 1
        self._over_network(answered.recorded)

    def _flush(self, batch: Sequence[Answered], ended: Then) -> None:
        forward_seconds = self._costs.single.public_forward / 2 * _SECONDS
        answer_seconds = self._costs.single.public_answer * _SECONDS

        def answer_each() -> None:
            for answered in batch:
                self.process.do(answer_seconds, partial(self._answer, answered))
            self.process.do(0.0, ended)

        def recorded() -> None:
            self._over_network(lambda: self.process.do(forward_seconds, answer_each))

        forward = Forward(len(batch), recorded)
        self.process.do(forward_seconds, lambda: self._over_network(lambda: self._private.forward(forward)))

    def _over_network(self, then: Then) -> None:
        after(self._env, self._network_seconds, then)
