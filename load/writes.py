"""Writes, measured against PostgreSQL doing the same work without us."""

from pathlib import Path
from statistics import median

from load.baselines import BATCH_ROWS, copied_rows_per_second, pgbench_inserts_per_second
from load.environment import BenchEnvironment
from load.figures import Figure
from load.wrk import Load, wrk

ROUNDS = 3
_HERE = Path(__file__).parent
_COPY_BATCHES = 20


def single_events(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """POST /Log/auth by one process and by two workers, each beside pgbench in the same round."""
    ones: list[tuple[float, float]] = []
    twos: list[tuple[float, float]] = []
    with environment.product("singles") as product:
        for _ in range(ROUNDS):
            for workers, clients, pairs in ((1, 128, ones), (2, 512, twos)):
                product.restart_public(workers)
                environment.settle()
                baseline = pgbench_inserts_per_second(environment.server, product.name, seconds=seconds)
                environment.settle()
                load = wrk(
                    f"{product.public.url}/Log/auth", connections=clients, seconds=seconds, script=_HERE / "post.lua"
                )
                _all_answered(load)
                pairs.append((load.requests_per_second, baseline))
    return [
        _ratio("POST /Log/auth, 1 process, 128 clients ÷ pgbench", ones, "events/s", 0.30, 0.5),
        _ratio("POST /Log/auth, 2 workers, 512 clients ÷ pgbench", twos, "events/s", 0.60, 1.0),
    ]


def batches(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Batches of 10,000 over 4 connections, beside COPY over as many and over one."""
    against_four: list[tuple[float, float]] = []
    against_one: list[tuple[float, float]] = []
    with environment.product("batches") as product:
        for _ in range(ROUNDS):
            environment.settle()
            four = copied_rows_per_second(environment.server, product.name, connections=4, batches=_COPY_BATCHES)
            environment.settle()
            one = copied_rows_per_second(environment.server, product.name, connections=1, batches=_COPY_BATCHES)
            environment.settle()
            url = f"{product.public.url}/Log/auth/batch"
            load = wrk(url, connections=4, seconds=seconds, script=_HERE / "batch.lua")
            _all_answered(load)
            rows = load.requests_per_second * BATCH_ROWS
            against_four.append((rows, four))
            against_one.append((rows, one))
    return [
        _ratio("batches of 10,000, 4 connections ÷ COPY over 4 connections", against_four, "rows/s", 0.35, 0.7),
        _ratio("batches of 10,000, 4 connections ÷ COPY over 1 connection", against_one, "rows/s", 0.35, 0.7),
    ]


def _ratio(name: str, pairs: list[tuple[float, float]], unit: str, floor: float, target: float) -> Figure:
    """The median of the rounds' ratios: the machine's speed may drift between two rounds, not within one."""
    ours, theirs = (median(side) for side in zip(*pairs, strict=True))
    detail = f"{ours:,.0f} ÷ {theirs:,.0f} {unit}; rounds " + ", ".join(f"{a / b:.2f}" for a, b in pairs)
    return Figure(name, median(a / b for a, b in pairs), floor, "higher", detail, target=target)


def _all_answered(load: Load) -> None:
    if load.refused or load.errors:
        message = f"a run in which requests fail measures nothing: {load}"
        raise ValueError(message)
