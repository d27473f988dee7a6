"""Writes, measured against PostgreSQL doing the same work without us."""

from pathlib import Path
from statistics import median

from load.baselines import BATCH_ROWS, NUMBER, copied_rows_per_second, pgbench_inserts_per_second
from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.kinds import KINDS, BenchKind, Bounds
from load.wrk import Load, wrk

ROUNDS = 3
_HERE = Path(__file__).parent
_COPY_BATCHES = 20


def single_events(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Each kind's events one by one, by one process and by two workers, each beside pgbench in the same round."""
    with environment.product("singles") as product:
        return [figure for kind in KINDS for figure in _single_events(environment, product, kind, seconds)]


def batches(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Each kind's batches of 10,000 over 4 connections, beside COPY over as many and over one."""
    with environment.product("batches") as product:
        return [figure for kind in KINDS for figure in _batches(environment, product, kind, seconds)]


def _single_events(environment: BenchEnvironment, product: Product, kind: BenchKind, seconds: int) -> list[Figure]:
    ones: list[tuple[float, float]] = []
    twos: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        for workers, clients, pairs in ((1, 128, ones), (2, 512, twos)):
            product.restart_public(workers)
            environment.settle()
            baseline = pgbench_inserts_per_second(environment.server, product.name, kind, seconds=seconds)
            environment.settle()
            load = wrk(
                f"{product.public.url}{kind.path}",
                connections=clients,
                seconds=seconds,
                script=_HERE / "post.lua",
                arguments=[kind.body(NUMBER)],
            )
            _all_answered(load)
            pairs.append((load.requests_per_second, baseline))
    return [
        _ratio(f"POST {kind.path}, 1 process, 128 clients ÷ pgbench", ones, "events/s", kind.one_process),
        _ratio(f"POST {kind.path}, 2 workers, 512 clients ÷ pgbench", twos, "events/s", kind.two_workers),
    ]


def _batches(environment: BenchEnvironment, product: Product, kind: BenchKind, seconds: int) -> list[Figure]:
    against_four: list[tuple[float, float]] = []
    against_one: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        environment.settle()
        four = copied_rows_per_second(environment.server, product.name, kind, connections=4, batches=_COPY_BATCHES)
        environment.settle()
        one = copied_rows_per_second(environment.server, product.name, kind, connections=1, batches=_COPY_BATCHES)
        environment.settle()
        load = wrk(
            f"{product.public.url}{kind.path}/batch",
            connections=4,
            seconds=seconds,
            script=_HERE / "batch.lua",
            arguments=[kind.event],
        )
        _all_answered(load)
        rows = load.requests_per_second * BATCH_ROWS
        against_four.append((rows, four))
        against_one.append((rows, one))
    name = f"POST {kind.path}/batch of 10,000, 4 connections ÷ COPY over"
    return [
        _ratio(f"{name} 4 connections", against_four, "rows/s", kind.batches),
        _ratio(f"{name} 1 connection", against_one, "rows/s", kind.batches),
    ]


def _ratio(name: str, pairs: list[tuple[float, float]], unit: str, bounds: Bounds) -> Figure:
    """The median of the rounds' ratios: the machine's speed may drift between two rounds, not within one."""
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    detail = f"{ours:,.0f} ÷ {theirs:,.0f} {unit}; rounds " + ", ".join(f"{a / b:.2f}" for a, b in pairs)
    return Figure(name, median(a / b for a, b in pairs), bounds.floor, "higher", detail, target=bounds.target)


def _all_answered(load: Load) -> None:
    if load.refused or load.errors:
        message = f"a run in which requests fail measures nothing: {load}"
        raise ValueError(message)
