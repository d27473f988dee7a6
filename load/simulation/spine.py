"""The whole of it: clients, public processes, private processes, storage; and what a simulation predicts."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from simpy import Environment, Event

from device_registration_api.events.writer import SLOTS
from load.baselines import BATCH_ROWS
from load.simulation.clients import Answered, closed_loop, open_loop
from load.simulation.costs import Measured
from load.simulation.observations import Observer, latencies
from load.simulation.scheduling import Cores, Process, after
from load.simulation.services import IN_FLIGHT_MAX, Delays, PrivateProcess, PublicProcess
from load.simulation.storage import Citus, Disk, Draws, Follower, Log, PostgreSQL, Storage

FOLLOWER = "the follower"

_SECONDS = 1e-6
# A simulation is cut here, for a load that answers nothing.
_SECONDS_MAX = 10_000.0


class ImpossibleError(ValueError):
    """There is no such installation, or no such load; the message is one sentence."""


@dataclass(frozen=True)
class Installation:
    """How many of each part there are.

    With `together`, everything and the load generator share the cores of one machine, as in the bench. Otherwise each
    process of a service has a core of its own, the load generator costs nothing, and `cores` are PostgreSQL's, or those
    of each node of Citus.
    """

    public: int = 1
    private: int = 1
    # Of Citus; none is one PostgreSQL.
    workers: int = 0
    cores: float = 2.0
    together: bool = False
    # One way, between two machines.
    network_seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("public", "private"):
            if getattr(self, name) < 1:
                raise ImpossibleError(f"there must be at least one {name} process")
        if self.workers < 0:
            raise ImpossibleError("the number of workers of Citus cannot be negative")
        if not self.cores > 0:
            raise ImpossibleError("there must be some of a core")
        if not self.network_seconds >= 0:
            raise ImpossibleError("the time between two machines cannot be negative")
        if self.together and (self.workers or self.network_seconds):
            raise ImpossibleError("workers of Citus and a network need machines of their own")


@dataclass(frozen=True)
class Load:
    """Clients that wait for their answers (`connections`), or requests at a rate; of one event or of a batch."""

    connections: int | None = None
    # Requests a second.
    rate: float | None = None
    kind: str = "auth_event"
    batches: bool = False

    def __post_init__(self) -> None:
        if (self.connections is None) == (self.rate is None):
            raise ImpossibleError("a load is either of connections or of a rate")
        if self.connections is not None and self.connections < 1:
            raise ImpossibleError("there must be at least one connection")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ImpossibleError("a rate must be greater than zero")

    @property
    def events(self) -> int:
        """Of one request."""
        return BATCH_ROWS if self.batches else 1


@dataclass(frozen=True)
class Prediction:
    """What is seen of the requests after the warm-up; times in milliseconds."""

    requests_per_second: float
    events_per_second: float
    mean_ms: float
    p50_ms: float
    p99_ms: float
    refused_per_second: float
    in_flight: float
    # Events of a transaction.
    flush_events: float
    # The share of the time in which each part is busy, 0 to 1; the greatest is the bottleneck.
    utilisation: dict[str, float]
    # Of the whole simulation: sent = answered + refused + open.
    sent: int
    answered: int
    refused: int
    open: int

    @property
    def bottleneck(self) -> str:
        """The part that is busiest."""
        return max(self.utilisation, key=lambda part: self.utilisation[part])


def simulate(
    installation: Installation, load: Load, measured: Measured, *, seed: int = 1, requests: int = 30_000
) -> Prediction:
    """Predict what `load` gets from `installation`.

    Raises:
        ImpossibleError: nothing was measured of this kind, or the clients are more than the processes admit.
    """
    if load.kind not in measured.kinds:
        raise ImpossibleError(f"{load.kind} was not measured; measured were {', '.join(sorted(measured.kinds))}")
    if load.connections is not None and load.connections > installation.public * IN_FLIGHT_MAX:
        raise ImpossibleError(
            f"each public process refuses more than {IN_FLIGHT_MAX} requests in flight: {load.connections} connections "
            f"need {-(-load.connections // IN_FLIGHT_MAX)} of them"
        )
    if requests < 1:
        raise ImpossibleError("at least one request must be observed")
    return _Simulation(installation, load, measured, seed, requests).run()


class _Simulation:
    def __init__(self, installation: Installation, load: Load, measured: Measured, seed: int, requests: int) -> None:
        self._installation = installation
        self._load = load
        self._measured = measured
        self._costs = measured.kinds[load.kind]
        self._env = env = Environment()
        self._draws = Draws(seed, measured.variation)
        self._shared = Cores(env, installation.cores)
        self._delays = Delays(self._wake, installation.network_seconds)
        warm_up = max(requests // 10, 2 * (load.connections or 0))
        self._observer = Observer(env, warm_up=warm_up, requests=requests)
        self._storage = self._new_storage()
        # As many slots as processes, as long as there are enough; the real ones are chosen by a hash.
        self._privates = [
            PrivateProcess(env, self._process(), self._storage, number % SLOTS, self._costs, self._draws, self._delays)
            for number in range(installation.private)
        ]
        # A public process keeps its connection, so all its forwards go to the same private process.
        self._publics = [
            PublicProcess(
                env,
                self._process(),
                self._privates[number % installation.private],
                self._costs,
                installation.network_seconds,
            )
            for number in range(installation.public)
        ]
        self._client = self._process()

    def _wake(self) -> float:
        return self._draws.quantile(self._measured.wake) * _SECONDS

    def run(self) -> Prediction:
        """Simulate until enough is observed."""
        load, observer = self._load, self._observer
        client_us = self._costs.batch.client_event * load.events if load.batches else self._costs.single.client_request
        seconds = client_us * _SECONDS if self._installation.together else 0.0
        if load.connections is not None:
            closed_loop(self._env, self._client, seconds, load.connections, self._send, observer)
        elif load.rate is not None:
            open_loop(self._env, self._client, seconds, load.rate, self._send, observer, self._draws.random)
        self._run_until(observer.began)
        before = self._readings()
        self._run_until(observer.ended)
        return self._prediction(before, self._readings())

    def _run_until(self, event: Event) -> None:
        if not event.processed:
            self._env.run(self._env.any_of([event, self._env.timeout(_SECONDS_MAX)]))
        if not event.triggered:
            raise ImpossibleError(f"too few requests were answered in {_SECONDS_MAX:,.0f} simulated seconds")

    def _send(self, connection: int, answered: Answered) -> None:
        public = self._publics[connection % len(self._publics)]
        if self._load.batches:
            begin = partial(public.record_batch, self._load.events, answered)
        else:
            begin = partial(public.record, answered)
        after(self._env, self._delays.network, begin)

    def _new_storage(self) -> Storage:
        number = self._installation.cores
        server = PostgreSQL(
            self._env,
            self._shared,
            number,
            log=self._log(),
            slots=SLOTS,
            follower=Follower(self._env, self._shared, self._costs.database_follow * _SECONDS),
        )
        if not self._installation.workers:
            return server
        return Citus(
            self._env,
            server,
            [(Cores(self._env, number), self._log()) for _ in range(self._installation.workers)],
            number=number,
            costs=self._measured.citus,
            network_seconds=self._delays.network,
        )

    def _log(self) -> Log:
        return Log(self._env, Disk(self._measured.commit, self._measured.pauses, self._draws))

    def _process(self) -> Process:
        cores = self._shared if self._installation.together else Cores(self._env, 1)
        return Process(self._env, cores, self._delays.wake)

    def _readings(self) -> "_Readings":
        parts = self._storage.utilisations()
        if self._installation.together:
            parts = {("the cores" if name == "PostgreSQL's cores" else name): busy for name, busy in parts.items()}
        processes = {"a client": [self._client]} if self._installation.together else {}
        processes["a public process"] = [public.process for public in self._publics]
        processes["a private process"] = [private.process for private in self._privates]
        parts |= {name: max(process.busy_seconds for process in each) for name, each in processes.items()}
        flushes = sum(private.coalescer.flushes for private in self._privates)
        return _Readings(parts, flushes, sum(private.coalescer.rows for private in self._privates))

    def _prediction(self, first: "_Readings", last: "_Readings") -> Prediction:
        observer = self._observer
        times = latencies(observer.latencies)
        per_second = len(observer.latencies) / observer.seconds
        flushes = last.flushes - first.flushes
        utilisation = {part: (last.busy[part] - busy) / observer.seconds for part, busy in first.busy.items()}
        if self._costs.database_follow:
            # From what it would need, because it comes by less often than an observation may be long. It is one
            # transaction after the other, and what it cannot do is left to readers.
            needed = per_second * self._load.events * self._costs.database_follow * _SECONDS
            utilisation[FOLLOWER] = min(1.0, needed)
        return Prediction(
            requests_per_second=per_second,
            events_per_second=per_second * self._load.events,
            mean_ms=times.mean,
            p50_ms=times.p50,
            p99_ms=times.p99,
            refused_per_second=observer.refused_per_second,
            in_flight=observer.mean_in_flight,
            flush_events=(last.rows - first.rows) / flushes if flushes else float(self._load.events),
            utilisation=utilisation,
            sent=observer.sent,
            answered=observer.answered,
            refused=observer.refused,
            open=observer.in_flight,
        )


class _Readings(NamedTuple):
    # Seconds, by the name of the part.
    busy: dict[str, float]
    flushes: int
    rows: int
