"""The model beside the product: `python -m load.bench predictions`, service times and comparison in one run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.open_loop import open_loop
from load.service_times import measure
from load.simulation.costs import Measured
from load.simulation.spine import Installation, Prediction, simulate
from load.simulation.spine import Load as SimulatedLoad
from load.write_loads import AUTH_EVENTS
from load.writes import post, post_batches

REPORT = Path("build/bench/predictions.md")
ERROR_MAX = 20.0
# Public workers and connections.
_CLOSED = ((1, 1), (1, 8), (1, 64), (1, 256), (2, 64), (2, 256))
_BATCH_CONNECTIONS = 4
_SHARES = (0.3, 0.6, 0.9)
# The rate and the length of the run that shows what a request costs the open-loop client.
_SLOW_RATE, _SLOW_SECONDS = 3_000.0, 1.0
_SATURATING_CONNECTIONS = 256


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
    with environment.product("predictions", metrics=True) as product:
        measured = measure(environment, product, seconds, [AUTH_EVENTS], "python -m load.bench predictions")
        compared = list(_compare(environment, product, measured, seconds))
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
        "| load | requests/s: predicted | measured | error | p50, ms | measured | error | p99, ms | measured | error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
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
        f"{p99} |"
    )


def _greatest(what: str, errors: Sequence[tuple[str, float]]) -> Figure:
    name, error = max(errors, key=lambda each: abs(each[1]))
    within = sum(abs(each) <= ERROR_MAX for _, each in errors)
    detail = f"{name}; {within} of {len(errors)} within {ERROR_MAX:g} %"
    return Figure(f"greatest error of the predicted {what}", abs(error), ERROR_MAX, "lower", detail, " %")


def _compare(environment: BenchEnvironment, product: Product, measured: Measured, seconds: int) -> Iterator[Compared]:
    for workers, connections in _CLOSED:
        if product.public.env["WORKERS"] != str(workers):
            product.restart_public(workers)
            post(product, AUTH_EVENTS, clients=connections, seconds=1)
        environment.settle()
        seen = post(product, AUTH_EVENTS, clients=connections, seconds=seconds)
        yield Compared(
            f"{connections} connections, {workers} public",
            simulate(Installation(public=workers, together=True), SimulatedLoad(connections), measured),
            Seen(seen.requests_per_second, seen.p50, seen.p99),
        )
    product.restart_public(1)
    post(product, AUTH_EVENTS, clients=_SATURATING_CONNECTIONS, seconds=1)
    environment.settle()
    batches = post_batches(product, AUTH_EVENTS, connections=_BATCH_CONNECTIONS, seconds=seconds)
    yield Compared(
        f"batches of 10,000, {_BATCH_CONNECTIONS} connections",
        simulate(Installation(together=True), SimulatedLoad(_BATCH_CONNECTIONS, batches=True), measured, requests=500),
        Seen(batches.requests_per_second, batches.p50, batches.p99),
    )
    yield from _open_loops(environment, product, measured, seconds)


def _open_loops(
    environment: BenchEnvironment, product: Product, measured: Measured, seconds: int
) -> Iterator[Compared]:
    """At shares of what the model says can be reached beside this client, which takes more time than wrk."""
    url = product.public.url + AUTH_EVENTS.path
    slow = open_loop(url, AUTH_EVENTS.event, rate=_SLOW_RATE, seconds=_SLOW_SECONDS)
    installation = Installation(together=True)
    saturated = simulate(
        installation, SimulatedLoad(_SATURATING_CONNECTIONS), measured.with_client("auth_event", slow.processor)
    )
    for share in _SHARES:
        rate = share * saturated.requests_per_second
        environment.settle()
        seen = open_loop(url, AUTH_EVENTS.event, rate=rate, seconds=seconds)
        own = measured.with_client("auth_event", seen.processor)
        yield Compared(
            f"open loop at {share:.0%} of saturation",
            simulate(installation, SimulatedLoad(rate=rate), own),
            Seen(seen.requests_per_second, seen.p50, seen.p99),
        )
