"""What each part of the spine takes for its work, for `make simulate`: `python -m load.bench "service times"`.

It is made of processor times, of numbers of forwards and of transactions, and of the times of single steps: of a flush
to the disk, of waking a process. No rate and no latency of the product is in it, so predictions made of it can be
compared with them.
"""

import os
import resource
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from device_registration_api.followers import FOLLOWERS
from load.baselines import BATCH_ROWS
from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.flushes import Caller, make_events, processor_microseconds
from load.machine import FlushProbe, Processors, description, wake_microseconds
from load.simulation.costs import BatchCosts, KindCosts, Measured, Pauses, Quantiles, SingleCosts, read_measured
from load.write_loads import WRITE_LOADS, WriteLoad
from load.writes import post, post_batches
from load.wrk import Load
from tests.metrics.scraping import value

REPORT = Path("build/bench/service_times.json")
# Workers and clients: flushes of one event, of some and of many, and transactions of one forward and of two.
_RUNS = ((1, 1), (1, 24), (1, 160), (2, 160))
_BATCH_CONNECTIONS = 4
# How much of what the public process does for a request comes before the coalescer: the parser's callbacks, the
# validation and the event's ids. This is an estimate; it moves latencies a little, and no rate.
_ACCEPT_SHARE = 0.6
# A run is repeated when others used more of the machine than this.
_QUIET_SHARE, _ATTEMPTS_MAX = 0.08, 3
# Facts that no follower has reached; a follower looks every two seconds.
_LEFT = [
    f"FROM {fact} WHERE commit_xid >= (SELECT followed_xid FROM maintenance.follower WHERE fact = '{fact}')"  # noqa: S608
    for fact in FOLLOWERS
]
_FOLLOWED_SECONDS_MAX, _POLL_SECONDS = 60.0, 0.5
# Fewer say nothing of one; more, of batches, take the follower too long.
_FOLLOWED_MIN, _FOLLOWED_MAX = 5_000, 100_000
_DATABASE = 3  # its place among the readings
_FORWARDS, _FORWARD_EVENTS = 300, 64
_QUANTILES = 100
# A flush of the probe that took longer than both met a pause of the disk.
_PAUSE_MICROSECONDS_MIN, _PAUSE_MEDIANS = 2_000.0, 10


class Usage(NamedTuple):
    """Microseconds of processor time since a start, and what was done in it."""

    requests: int
    client: float
    public: float
    private: float
    database: float
    forwards: float
    flushes: float
    # The facts that were left to the follower, and PostgreSQL's time for them.
    followed: int = 0
    following: float = 0.0

    @property
    def processors(self) -> float:
        """Of all."""
        return self.client + self.public + self.private + self.database


class Seen(Protocol):
    """What a run of a load generator saw."""

    @property
    def requests(self) -> int:
        """How many were answered."""


Result = TypeVar("Result", bound=Seen)


class Meter:
    """Reads the processor time and the counters of a product that shows its metrics."""

    def __init__(self, environment: BenchEnvironment, product: Product) -> None:
        self._environment = environment
        self._server = environment.server
        self._product = product
        # The share of the machine that others used during each work.
        self.others: list[float] = []

    def of(self, work: Callable[[], Result]) -> tuple[Result, Usage]:
        """Return what the work saw, and what it used; of a few attempts that one which others disturbed least."""
        attempts: list[tuple[float, Result, Usage]] = []
        while len(attempts) < _ATTEMPTS_MAX and min((each[0] for each in attempts), default=1.0) > _QUIET_SHARE:
            attempts.append(self._attempt(work))
        others, seen, used = min(attempts, key=lambda attempt: attempt[0])
        self.others.append(others)
        return seen, used

    def once(self, work: Callable[[], Result]) -> tuple[Result, Usage]:
        """The same of one attempt, for work that leaves more to the follower than can be waited for."""
        others, seen, used = self._attempt(work)
        self.others.append(others)
        return seen, used

    def _attempt(self, work: Callable[[], Result]) -> tuple[float, Result, Usage]:
        self._wait_until_followed()
        before, processors = self._read(), Processors()
        seen = work()
        after = self._read()
        client, public, private, database, forwards, flushes = (
            later - earlier for earlier, later in zip(before, after, strict=True)
        )
        used = Usage(seen.requests, client, public, private, database, forwards, flushes)
        others = processors.others_share(1e-6 * used.processors)
        left = self._unfollowed()
        if left > _FOLLOWED_MAX:
            return others, seen, used._replace(followed=left)
        # What this work has left to the follower is a part of what its events take.
        self._wait_until_followed()
        return others, seen, used._replace(followed=left, following=self._read()[_DATABASE] - after[_DATABASE])

    def _unfollowed(self) -> int:
        return sum(
            int(str(self._environment.execute(self._product.name, f"SELECT count(*) {each}")[0][0])) for each in _LEFT
        )

    def _wait_until_followed(self) -> None:
        """Facts of earlier work would be followed beside this one.

        Raises:
            TimeoutError: the follower does not come to an end.
        """
        ends = time.monotonic() + _FOLLOWED_SECONDS_MAX
        while self._unfollowed():
            if time.monotonic() > ends:
                raise TimeoutError("the follower does not come to an end")
            time.sleep(_POLL_SECONDS)

    def _read(self) -> tuple[float, ...]:
        public, private, postmaster = self._product.public.pid, self._product.private.pid, self._server.pid
        assert public is not None  # noqa: S101 - they are ready
        assert private is not None  # noqa: S101
        assert postmaster is not None  # noqa: S101
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        flushes = "device_statistics_coalescer_flush_items_count"
        return (
            1e6 * (children.ru_utime + children.ru_stime),
            processor_microseconds(public),
            processor_microseconds(private),
            processor_microseconds(postmaster),
            value(self._product.public, flushes),
            value(self._product.private, flushes),
        )


def fit(causes: Sequence[Sequence[float]], times: Sequence[float]) -> list[float]:
    """What each unit of each cause takes, so that the sums are, in proportion, as near to the times as can be.

    A row of `causes` has the number of units of each, which took the time in the same place. No result is negative.
    """
    units, took = np.array(causes, dtype=float), np.array(times, dtype=float)
    kept = list(range(units.shape[1]))
    while True:
        scaled = units[:, kept] / took[:, None]
        found, *_ = np.linalg.lstsq(scaled, np.ones(len(took)), rcond=None)
        if (found >= 0).all() or len(kept) == 1:
            result = [0.0] * units.shape[1]
            for place, each in zip(kept, found, strict=True):
                result[place] = max(0.0, float(each))
            return result
        del kept[int(found.argmin())]


def follow_cost(usages: Sequence[Usage]) -> float:
    """PostgreSQL's time for a fact that is followed later; zero of a kind without a follower."""
    waited = [each for each in usages if each.following]
    followed = sum(each.followed for each in waited)
    return sum(each.following for each in waited) / followed if followed >= _FOLLOWED_MIN else 0.0


def single_costs(usages: Sequence[Usage], follow: float = 0.0) -> SingleCosts:
    """Of runs with flushes of different sizes, in which a fact took the follower so much."""
    request, forward = fit([(each.requests, each.forwards) for each in usages], [each.public for each in usages])
    private = fit([(each.forwards, each.flushes, each.requests) for each in usages], [each.private for each in usages])
    at_once = [max(1.0, each.database - follow * (each.requests - each.followed)) for each in usages]
    database = fit([(each.flushes, each.requests) for each in usages], at_once)
    (client,) = fit([(each.requests,) for each in usages], [each.client for each in usages])
    return SingleCosts(
        client_request=client,
        public_accept=_ACCEPT_SHARE * request,
        public_answer=(1 - _ACCEPT_SHARE) * request,
        public_forward=forward,
        private_forward=private[0],
        private_flush=private[1],
        private_event=private[2],
        database_flush=database[0],
        database_event=database[1],
    )


def batch_costs(usage: Usage, follow: float = 0.0) -> BatchCosts:
    """Of a run of batches, in which a fact took the follower so much."""
    events = usage.requests * BATCH_ROWS
    return BatchCosts(
        client_event=usage.client / events,
        public_event=usage.public / events,
        private_event=usage.private / events,
        database_event=max(0.0, usage.database - follow * (events - usage.followed)) / events,
    )


def quantiles(values: Sequence[float]) -> tuple[float, ...]:
    """From the least to the greatest, in steps of a hundredth."""
    return tuple(round(float(each), 4) for each in np.quantile(values, np.linspace(0, 1, _QUANTILES + 1)))


def commits_and_pauses(probe: FlushProbe) -> tuple[Quantiles, Pauses]:
    """Flushes to the disk, and the pauses of the disk: flushes that took much longer than the others.

    A transaction meets pauses by time and not by its turn, so their number is one of a second and not a share of the
    flushes: who flushes twice as often meets as many.
    """
    longest = max(_PAUSE_MICROSECONDS_MIN, _PAUSE_MEDIANS * median(probe.times))
    lengths = [each for each in probe.times if each > longest]
    commits = quantiles([each for each in probe.times if each <= longest])
    if not lengths:
        return commits, Pauses()
    return commits, Pauses(per_second=len(lengths) / probe.seconds, lengths=quantiles(lengths))


def kind_costs(
    product: Product, meter: Meter, environment: BenchEnvironment, load: WriteLoad, seconds: int, probe: FlushProbe
) -> KindCosts:
    """Of one kind, on a product with one worker; the probe runs beside events that come one a request."""

    def run(clients: int) -> Load:
        with probe.running():
            return post(product, load, clients=clients, seconds=seconds)

    usages = []
    for workers, clients in _RUNS:
        if product.public.env["WORKERS"] != str(workers):
            product.restart_public(workers)
        post(product, load, clients=clients, seconds=1)
        environment.settle()
        _, usage = meter.of(partial(run, clients))
        usages.append(usage)
    product.restart_public(1)
    environment.settle()
    _, batches = meter.once(partial(post_batches, product, load, connections=_BATCH_CONNECTIONS, seconds=seconds))
    follow = follow_cost(usages)
    return KindCosts(single=single_costs(usages, follow), batch=batch_costs(batches, follow), database_follow=follow)


def variation(product: Product) -> list[float]:
    """How long forwards of one size take one after the other, in units of their median."""
    caller = Caller(product.private.url, product.private.env["SERVICE_TOKEN"])
    events = make_events(None)
    caller.send(events, _FORWARDS // 10, _FORWARD_EVENTS)
    times = []
    for _ in range(_FORWARDS):
        ready = islice(events, _FORWARD_EVENTS)
        begun = time.perf_counter()
        caller.send(ready, 1, _FORWARD_EVENTS)
        times.append(time.perf_counter() - begun)
    middle = median(times)
    return [each / middle for each in times]


def measure(environment: BenchEnvironment, seconds: int, loads: Sequence[WriteLoad], command: str) -> Measured:
    """Measure these kinds, each in a database of its own, and the machine, in one run."""
    wake, probe = wake_microseconds(), FlushProbe(environment.server.folder)
    kinds: dict[str, KindCosts] = {}
    varied: list[float] = []
    others: list[float] = []
    for load in loads:
        with environment.product(f"times_{load.fact}", metrics=True) as product:
            varied = varied or variation(product)
            meter = Meter(environment, product)
            kinds[load.fact] = kind_costs(product, meter, environment, load, seconds, probe)
            others += meter.others
    commits, pauses = commits_and_pauses(probe)
    return Measured(
        measured_at=datetime.now(UTC).date().isoformat(),
        machine=description(),
        command=command,
        cores=os.cpu_count() or 1,
        others_share=fmean(others),
        wake=quantiles(wake),
        commit=commits,
        pauses=pauses,
        variation=quantiles(varied),
        kinds=kinds,
        citus=read_measured().citus,
    )


def service_times(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Of every kind, as a file for `make simulate`; what is measured for a model has no floor."""
    measured = measure(environment, seconds, WRITE_LOADS, 'python -m load.bench "service times"')
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(measured.model_dump_json(indent=2) + "\n")
    return []
