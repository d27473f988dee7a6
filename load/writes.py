"""Writes, measured against PostgreSQL doing the same work without us; each kind of `load.write_loads`."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

from load.baselines import BATCH_ROWS, copied_rows_per_second, pgbench_inserts
from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.write_loads import AUTH_EVENTS, WRITE_LOADS, WriteLoad
from load.wrk import Load, wrk

ROUNDS = 3
_HERE = Path(__file__).parent
_COPY_BATCHES = 20
# Workers, clients and target.
_SINGLES = ((1, 128, 1.2), (2, 512, 2.0))
_KEYED_CLIENTS = 128
_REPLAYED = (0.0, 0.01, 0.5)


def each_kind(measure: Callable[[BenchEnvironment, int, WriteLoad], Iterator[Figure]]) -> Callable[..., list[Figure]]:
    """The same measurement over every kind."""
    return lambda environment, seconds: [
        figure for load in WRITE_LOADS for figure in measure(environment, seconds, load)
    ]


def post(product: Product, load: WriteLoad, *, clients: int, seconds: int) -> Load:
    """One event a request, over and over."""
    return post_to(product.public.url, load, clients=clients, seconds=seconds, headers=credentials(product, load))


def post_to(server: str, load: WriteLoad, *, clients: int, seconds: int, headers: Sequence[str] = ()) -> Load:
    """The same to whatever serves this path."""
    return wrk(
        server + load.path,
        connections=clients,
        seconds=seconds,
        script=_HERE / "post.lua",
        arguments=[load.event],
        headers=headers,
    )


def post_batches(product: Product, load: WriteLoad, *, connections: int, seconds: int) -> Load:
    """One batch of 10,000 events a request, over and over."""
    return wrk(
        f"{product.public.url}{load.path}/batch",
        connections=connections,
        seconds=seconds,
        script=_HERE / "batch.lua",
        arguments=[load.event],
        headers=credentials(product, load),
    )


def credentials(product: Product, load: WriteLoad) -> list[str]:
    """The header lines that a client of this kind has to send."""
    return [f"X-API-Key: {product.key}"] if load.needs_key else []


@each_kind
def single_events(environment: BenchEnvironment, seconds: int, load: WriteLoad) -> Iterator[Figure]:
    """POST by one process and by two workers, each beside pgbench in the same round."""
    runs: dict[tuple[int, int], list[tuple[Load, float]]] = {
        (workers, clients): [] for workers, clients, *_ in _SINGLES
    }
    with environment.product(f"singles_{load.fact}") as product:
        for _ in range(ROUNDS):
            for (workers, clients), pairs in runs.items():
                product.restart_public(workers)
                environment.settle()
                baseline = pgbench_inserts(environment.server, product.name, load, seconds=seconds)
                environment.settle()
                pairs.append((post(product, load, clients=clients, seconds=seconds), baseline.per_second))
    for (workers, clients, target), floor in zip(_SINGLES, load.floors.single, strict=True):
        pairs = runs[workers, clients]
        processes = "1 process" if workers == 1 else f"{workers} workers"
        yield ratio(
            f"POST {load.path}, {processes}, {clients} clients ÷ pgbench",
            [(ours.requests_per_second, theirs) for ours, theirs in pairs],
            "events/s",
            floor,
            target=None if floor is None else target,
            also=_latency([ours for ours, _ in pairs]),
        )


def other_kinds(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """POST of every other kind beside POST of auth events, each first in turn: one process, 128 clients."""
    others = [load for load in WRITE_LOADS if load is not AUTH_EVENTS]
    pairs: dict[str, list[tuple[float, float]]] = {load.path: [] for load in others}
    with environment.product("kinds") as product:
        for load in WRITE_LOADS:
            # Not measured: what comes with the first events of a kind.
            post(product, load, clients=128, seconds=1)
        for number in range(ROUNDS):
            for load in others:
                rates: dict[str, float] = {}
                for each in (AUTH_EVENTS, load) if number % 2 else (load, AUTH_EVENTS):
                    environment.settle()
                    rates[each.path] = post(product, each, clients=128, seconds=seconds).requests_per_second
                pairs[load.path].append((rates[load.path], rates[AUTH_EVENTS.path]))
    return [
        ratio(f"POST {path} ÷ POST {AUTH_EVENTS.path}, 1 process, 128 clients", each, "events/s", 0.8)
        for path, each in pairs.items()
    ]


@each_kind
def keyed_events(environment: BenchEnvironment, seconds: int, load: WriteLoad) -> Iterator[Figure]:
    """POST with an Idempotency-Key each beside the same without, at several shares of replays."""
    runs: dict[float, list[tuple[Load, Load]]] = {share: [] for share in _REPLAYED}
    with environment.product(f"keyed_{load.fact}") as product:
        for _ in range(ROUNDS):
            for share in _REPLAYED:
                without = _keyed(environment, product, load, seconds, share=None)
                runs[share].append((_keyed(environment, product, load, seconds, share=share), without))
    for share, pairs in runs.items():
        replayed = median(keyed.repeated / (keyed.repeated + keyed.different) for keyed, _ in pairs)
        yield ratio(
            f"POST {load.path} with an Idempotency-Key each, {share:.0%} replays ÷ without, 1 process, "
            f"{_KEYED_CLIENTS} clients",
            [(keyed.requests_per_second, without.requests_per_second) for keyed, without in pairs],
            "events/s",
            load.floors.keyed,
            target=None if load.floors.keyed is None else 0.8,
            also=f"{_latency([keyed for keyed, _ in pairs])}; {replayed:.1%} were replays",
        )


def _keyed(
    environment: BenchEnvironment, product: Product, load: WriteLoad, seconds: int, *, share: float | None
) -> Load:
    """A run in which that share of the requests was answered as replays: with 200, and without a new row.

    Raises:
        ValueError: a request was answered otherwise, or a replay left a row.
    """
    environment.settle()
    before = _rows(environment, product, load)
    seen = wrk(
        product.public.url + load.path,
        connections=_KEYED_CLIENTS,
        seconds=seconds,
        script=_HERE / "keyed.lua",
        arguments=[load.event, secrets.token_hex(8), "none" if share is None else str(share)],
        headers=credentials(product, load),
    )
    rows = _rows(environment, product, load) - before
    # wrk puts one request together that it does not send, and leaves those that are under way at its end.
    if not seen.different - _KEYED_CLIENTS - 1 <= rows <= seen.different:
        message = f"{seen.different} events and {seen.repeated} replays left {rows} rows"
        raise ValueError(message)
    if share and not seen.repeated:
        message = f"no request was a replay, and {share:.0%} should be: the run was too short"
        raise ValueError(message)
    return seen


def _rows(environment: BenchEnvironment, product: Product, load: WriteLoad) -> int:
    ((count,),) = environment.execute(product.name, f"SELECT count(*) FROM {load.fact}")  # noqa: S608 - a constant
    assert isinstance(count, int)  # noqa: S101
    return count


@each_kind
def a_lone_event(environment: BenchEnvironment, seconds: int, load: WriteLoad) -> Iterator[Figure]:
    """How long one client waits when it is alone, beside one client of pgbench."""
    pairs = []
    with environment.product(f"alone_{load.fact}") as product:
        for _ in range(ROUNDS):
            environment.settle()
            baseline = pgbench_inserts(
                environment.server, product.name, load, seconds=seconds, clients=1, each_latency=True
            )
            environment.settle()
            pairs.append((post(product, load, clients=1, seconds=seconds).p50, baseline.p50))
    name = f"POST {load.path}, one client alone, median"
    rounds = "rounds " + ", ".join(f"{ours:.2f}" for ours, _ in pairs)
    yield Figure(name, median(ours for ours, _ in pairs), None, "lower", rounds, " ms")
    yield ratio(f"{name} ÷ pgbench with one client", pairs, "ms", None, better="lower")


@each_kind
def batches(environment: BenchEnvironment, seconds: int, load: WriteLoad) -> Iterator[Figure]:
    """Batches of 10,000 over 4 connections, beside COPY over as many and over one."""
    pairs: dict[int, list[tuple[float, float]]] = {4: [], 1: []}
    with environment.product(f"batches_{load.fact}") as product:
        for _ in range(ROUNDS):
            copied = {}
            for connections in pairs:
                environment.settle()
                copied[connections] = copied_rows_per_second(
                    environment.server, product.name, load, connections=connections, batches=_COPY_BATCHES
                )
            environment.settle()
            seen = post_batches(product, load, connections=4, seconds=seconds)
            for connections, theirs in copied.items():
                pairs[connections].append((seen.requests_per_second * BATCH_ROWS, theirs))
    name = f"POST {load.path}/batch, 10,000 events each, 4 connections ÷ COPY over"
    yield ratio(f"{name} 4 connections", pairs[4], "rows/s", load.floors.batches[0], target=0.9)
    yield ratio(f"{name} 1 connection", pairs[1], "rows/s", load.floors.batches[1], target=0.7)


def _latency(runs: list[Load]) -> str:
    return f"p50 {median(each.p50 for each in runs):.1f} ms, p99 {median(each.p99 for each in runs):.1f} ms"
