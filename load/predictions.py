"""The model beside the product: `python -m load.bench predictions`, service times and comparison in one run."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
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
# Public workers and connections.
_CLOSED = ((1, 1), (1, 8), (1, 64), (1, 256), (2, 64), (2, 256))
_BATCH_CONNECTIONS = 4
_SHARES = (0.3, 0.6, 0.9)
# The rate and the length of the run that shows what a request costs the open-loop client.
_SLOW_RATE, _SLOW_SECONDS = 3_000.0, 1.0
_SATURATING_CONNECTIONS = 256
_HEAD = (
    "| load | requests/s, predicted | measured | error | p50, ms | measured | error |"
    " p99, ms | measured | error | others |"
)
_SIMULATED, _SIMULATED_BATCHES = 60_000, 500


class Seen(NamedTuple):
    """Of one run; latencies in milliseconds."""

    requests_per_second: float
    p50: float
    p99: float


class Compared(NamedTuple):
    """What was predicted of a load, and what was measured."""

    name: str
    predicted: Prediction
    measured: Seen
    # The share of the machine that others used meanwhile, 0 to 1.
    others: float

    @property
    def errors(self) -> tuple[float, float, float]:
        """Of throughput, p50 and p99, in per cent of what was measured."""
        predicted, measured = self.predicted, self.measured
        pairs = (
            (predicted.requests_per_second, measured.requests_per_second),
            (predicted.p50_ms, measured.p50),
            (predicted.p99_ms, measured.p99),
        )
        throughput, p50, p99 = (100 * (ours / theirs - 1) for ours, theirs in pairs)
        return throughput, p50, p99


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
        _greatest("throughput", [(each.name, each.errors[0]) for each in compared]),
        _greatest("p99", [(each.name, each.errors[2]) for each in compared]),
    ]


def table(compared: Sequence[Compared], measured: Measured) -> str:
    """The comparison as a Markdown table."""
    lines = [
        _HEAD,
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        *map(_row, compared),
        "",
        f"{measured.machine}; others used {measured.others_share:.0%} of it while the service times were measured.",
    ]
    return "\n".join(lines)


def _row(compared: Compared) -> str:
    predicted, seen = compared.predicted, compared.measured
    throughput, p50, p99 = (f"{error:+.0f} %" for error in compared.errors)
    digits = ",.1f" if seen.requests_per_second < 1000 else ",.0f"  # noqa: PLR2004 - for the eye
    return (
        f"| {compared.name} | {predicted.requests_per_second:{digits}} | {seen.requests_per_second:{digits}} | "
        f"{throughput} | {predicted.p50_ms:.2f} | {seen.p50:.2f} | {p50} | {predicted.p99_ms:.2f} | {seen.p99:.2f} | "
        f"{p99} | {compared.others:.0%} |"
    )


def _greatest(what: str, errors: Sequence[tuple[str, float]]) -> Figure:
    name, error = max(errors, key=lambda each: abs(each[1]))
    within = sum(abs(each) <= ERROR_MAX for _, each in errors)
    detail = f"{name}; {within} of {len(errors)} within {ERROR_MAX:g} %"
    return Figure(f"greatest error of the predicted {what}", abs(error), ERROR_MAX, "lower", detail, " %")


class _Comparison:
    """Runs a load, and simulates it on the cores that others left meanwhile."""

    def __init__(self, environment: BenchEnvironment, product: Product, measured: Measured, seconds: int) -> None:
        self._environment = environment
        self._product = product
        self._meter = Meter(environment, product)
        self._measured = measured
        self._seconds = seconds

    def all(self) -> Iterator[Compared]:
        """Compare each load."""
        for workers, connections in _CLOSED:
            self._warm_up(workers, connections)
            work = partial(post, self._product, AUTH_EVENTS, clients=connections, seconds=self._seconds)
            yield self._compared(
                f"{connections} connections, {workers} public", work, SimulatedLoad(connections), workers=workers
            )
        self._warm_up(1, _SATURATING_CONNECTIONS)
        yield from self._open_loops()
        # The last, because the follower needs long for what they leave to it.
        work = partial(post_batches, self._product, AUTH_EVENTS, connections=_BATCH_CONNECTIONS, seconds=self._seconds)
        load = SimulatedLoad(_BATCH_CONNECTIONS, batches=True)
        yield self._compared(f"batches of {BATCH_ROWS:,}, {_BATCH_CONNECTIONS} connections", work, load)

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
            yield self._compared(f"open loop at {share:.0%} of saturation", work, SimulatedLoad(rate=rate))

    def _compared(
        self, name: str, work: Callable[[], Load | OpenLoad], load: SimulatedLoad, workers: int = 1
    ) -> Compared:
        self._environment.settle()
        seen, _ = (self._meter.once if load.batches else self._meter.of)(work)
        measured = self._measured
        if isinstance(seen, OpenLoad):
            measured = measured.with_client(load.kind, seen.processor)
        installation = Installation(public=workers, cores=self._cores(), together=True)
        requests = _SIMULATED_BATCHES if load.batches else _SIMULATED
        predicted = simulate(installation, load, measured, requests=requests)
        return Compared(name, predicted, Seen(seen.requests_per_second, seen.p50, seen.p99), self._meter.others[-1])

    def _cores(self) -> float:
        others = self._meter.others[-1] if self._meter.others else self._measured.others_share
        return self._measured.cores * (1 - others)

    def _warm_up(self, workers: int, connections: int) -> None:
        if self._product.public.env["WORKERS"] != str(workers):
            self._product.restart_public(workers)
            post(self._product, AUTH_EVENTS, clients=connections, seconds=1)
