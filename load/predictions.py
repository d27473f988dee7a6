"""The model beside the product: `python -m load.bench predictions`, service times and comparison in one run.

Each load is measured several times, because two measurements of the same load differ on the same machine: what was
measured is the median, and the table shows the least and the greatest too. BENCH_ROUNDS (5) says how many times. The
loads are others than those from which the service times are taken, but for the client alone.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from load.baselines import BATCH_ROWS
from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.open_loop import OpenLoad, open_loop
from load.service_times import Meter, measure
from load.simulation.costs import Measured
from load.simulation.spine import Installation, Prediction, simulate
from load.simulation.spine import Load as SimulatedLoad
from load.write_loads import AUTH_EVENTS
from load.writes import post, post_batches
from load.wrk import Load

REPORT = Path("build/bench/predictions.md")
ERROR_MAX = 20.0
QUANTITIES = ("throughput", "p50", "p99")
# Public workers and connections.
_CLOSED = ((1, 1), (1, 8), (1, 64), (1, 256), (2, 64), (2, 256))
_BATCH_CONNECTIONS = 4
_SHARES = (0.3, 0.6, 0.9)
# The rate and the length of the run that shows what a request costs the open-loop client.
_SLOW_RATE, _SLOW_SECONDS = 3_000.0, 1.0
_SATURATING_CONNECTIONS = 256
_HEAD = (
    "| load | requests/s, predicted | measured, least to greatest | error | p50, ms, predicted | measured | error |"
    " p99, ms, predicted | measured | error | others |"
)
_ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
_SIMULATED, _SIMULATED_BATCHES = 60_000, 500


class Seen(NamedTuple):
    """Of one run; latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float


class Compared(NamedTuple):
    """What was predicted of a load, and what was measured in each of some rounds."""

    name: str
    predicted: Prediction
    rounds: Sequence[Seen]
    # The share of the machine that others used meanwhile, 0 to 1: the median of the rounds.
    others: float

    @property
    def quantities(self) -> "tuple[Quantity, Quantity, Quantity]":
        """Throughput, p50 and p99."""
        throughput, p50, p99 = zip(*self.rounds, strict=True)
        return (
            Quantity(self.predicted.requests_per_second, throughput),
            Quantity(self.predicted.p50_ms, p50),
            Quantity(self.predicted.p99_ms, p99),
        )


class Quantity(NamedTuple):
    """One quantity, predicted once and measured in each round."""

    predicted: float
    rounds: Sequence[float]

    @property
    def measured(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def error(self) -> float:
        """Of the prediction, in per cent of what was measured."""
        return 100 * (self.predicted / self.measured - 1)

    @property
    def noise(self) -> float:
        """The greatest distance of a round from the median, in per cent of it: no prediction is better than this."""
        return max(abs(100 * (each / self.measured - 1)) for each in self.rounds)


def predictions(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """How far the model is from the product in each configuration, as a table; and the greatest errors."""
    measured = measure(environment, seconds, [AUTH_EVENTS], "python -m load.bench predictions")
    with environment.product("predictions", metrics=True) as product:
        compared = list(_Comparison(environment, product, measured, seconds).all())
    report = table(compared, measured)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report + "\n")
    REPORT.with_suffix(".json").write_text(measured.model_dump_json(indent=2) + "\n")
    print(f"{report}\n")
    return [
        _greatest(name, [(each.name, each.quantities[place].error) for each in compared])
        for place, name in enumerate(QUANTITIES)
    ]


def table(compared: Sequence[Compared], measured: Measured) -> str:
    """The comparison as a Markdown table, with a sentence for each quantity."""
    measured_on = (
        f"{len(compared[0].rounds)} rounds on {measured.measured_at}; {measured.machine}; others used "
        f"{measured.others_share:.0%} of it while the service times were measured."
    )
    lines = [
        _HEAD,
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(_row, compared),
        "",
        measured_on,
        "",
        *(_verdict(name, [each.quantities[place] for each in compared]) for place, name in enumerate(QUANTITIES)),
    ]
    return "\n".join(lines)


def _row(compared: Compared) -> str:
    cells = [
        cell
        for quantity, digits in zip(compared.quantities, (None, ".1f", ".1f"), strict=True)
        for cell in _cells(quantity, digits)
    ]
    return f"| {compared.name} | {' | '.join(cells)} | {compared.others:.0%} |"


def _cells(quantity: Quantity, digits: str | None) -> tuple[str, str, str]:
    digits = digits or (",.1f" if quantity.measured < 1000 else ",.0f")  # noqa: PLR2004 - for the eye
    least, greatest = min(quantity.rounds), max(quantity.rounds)
    measured = f"{quantity.measured:{digits}} ({least:{digits}} to {greatest:{digits}})"
    return f"{quantity.predicted:{digits}}", measured, f"{quantity.error:+.0f} %"


def _verdict(name: str, quantities: Sequence[Quantity]) -> str:
    within = sum(abs(each.error) <= ERROR_MAX for each in quantities)
    noisy = sum(each.noise > ERROR_MAX for each in quantities)
    return (
        f"- **{name}**: {within} of {len(quantities)} predictions within {ERROR_MAX:g} % of the median. In {noisy} of "
        f"{len(quantities)} loads one round was itself more than {ERROR_MAX:g} % off the median."
    )


def _greatest(what: str, errors: Sequence[tuple[str, float]]) -> Figure:
    name, error = max(errors, key=lambda each: abs(each[1]))
    within = sum(abs(each) <= ERROR_MAX for _, each in errors)
    detail = f"{name}; {within} of {len(errors)} within {ERROR_MAX:g} %"
    return Figure(f"greatest error of the predicted {what}", abs(error), ERROR_MAX, "lower", detail, " %")


class _Comparison:
    """Runs a load some times, and simulates it on the cores that others left meanwhile."""

    def __init__(self, environment: BenchEnvironment, product: Product, measured: Measured, seconds: int) -> None:
        self._environment = environment
        self._product = product
        self._meter = Meter(environment, product)
        self._measured = measured
        self._seconds = seconds
        self._batch_products = 0

    def all(self) -> Iterator[Compared]:
        """Compare each load."""
        for workers, connections in _CLOSED:
            self._set_workers(workers)
            work = partial(post, self._product, AUTH_EVENTS, clients=connections, seconds=self._seconds)
            yield self._compared(
                f"{connections} connection{'s' if connections > 1 else ''}, {workers} public",
                partial(self._seen, work),
                SimulatedLoad(connections),
                workers=workers,
            )
        self._set_workers(1)
        yield from self._open_loops()
        yield self._compared(
            f"batches of {BATCH_ROWS:,}, {_BATCH_CONNECTIONS} connections",
            self._batches,
            SimulatedLoad(_BATCH_CONNECTIONS, batches=True),
        )

    def _batches(self) -> Seen:
        """One round, on a database of its own: the follower needs longer for what it leaves than anybody can wait."""
        self._batch_products += 1
        with self._environment.product(f"batches_{self._batch_products}", metrics=True) as product:
            post(product, AUTH_EVENTS, clients=_SATURATING_CONNECTIONS, seconds=1)
            meter = Meter(self._environment, product)
            work = partial(post_batches, product, AUTH_EVENTS, connections=_BATCH_CONNECTIONS, seconds=self._seconds)
            seen, _ = meter.once(work)
        self._meter.others.append(meter.others[-1])
        return Seen(seen.requests_per_second, seen.p50, seen.p99)

    def _open_loops(self) -> Iterator[Compared]:
        """At shares of what the model says can be reached beside this client, which takes more time than wrk."""
        url = self._product.public.url + AUTH_EVENTS.path
        slow = open_loop(url, AUTH_EVENTS.event, rate=_SLOW_RATE, seconds=_SLOW_SECONDS)
        saturated = simulate(
            Installation(cores=self._cores(), together=True),
            SimulatedLoad(_SATURATING_CONNECTIONS),
            self._measured.with_client(AUTH_EVENTS.fact, slow.processor),
        )
        for share in _SHARES:
            rate = share * saturated.requests_per_second
            work = partial(open_loop, url, AUTH_EVENTS.event, rate=rate, seconds=self._seconds)
            yield self._compared(
                f"open loop at {share:.0%} of saturation, {rate:,.0f}/s",
                partial(self._seen, work),
                SimulatedLoad(rate=rate),
                processor=slow.processor,
            )

    def _compared(
        self, name: str, once: Callable[[], Seen], load: SimulatedLoad, workers: int = 1, processor: float | None = None
    ) -> Compared:
        """Compare rounds of `once`; `processor` is what a request costs a client that is not wrk, in µs."""
        self._environment.settle()
        # After a checkpoint, pages are written whole into the log once, and a new process warms up: not in a round.
        post(self._product, AUTH_EVENTS, clients=_SATURATING_CONNECTIONS, seconds=1)
        before = len(self._meter.others)
        rounds = [once() for _ in range(_ROUNDS)]
        share = median(self._meter.others[before:])
        measured = self._measured if processor is None else self._measured.with_client(load.kind, processor)
        installation = Installation(public=workers, cores=measured.cores * (1 - share), together=True)
        requests = _SIMULATED_BATCHES if load.batches else _SIMULATED
        compared = Compared(name, simulate(installation, load, measured, requests=requests), rounds, share)
        # At once: a run that is cut short has shown what it had.
        print(_row(compared), file=sys.stderr, flush=True)
        return compared

    def _seen(self, work: Callable[[], Load | OpenLoad]) -> Seen:
        seen, _ = self._meter.once(work)
        return Seen(seen.requests_per_second, seen.p50, seen.p99)

    def _cores(self) -> float:
        others = self._meter.others[-1] if self._meter.others else self._measured.others_share
        return self._measured.cores * (1 - others)

    def _set_workers(self, workers: int) -> None:
        if self._product.public.env["WORKERS"] != str(workers):
            self._product.restart_public(workers)
