"""The product beside the alternatives and pgbench: one PostgreSQL, one table, each commit durable, rounds in turns."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from load.alternatives.installation import ALTERNATIVES, AlternativeMissingError
from load.baselines import libpq_environment, pgbench_inserts
from load.environment import BenchEnvironment, wait_listening
from load.write_loads import AUTH_EVENTS
from load.writes import post_to
from local.ports import free_port

ROUNDS = 3
CLIENTS = (128, 512)


class Row(NamedTuple):
    """What one server reached with that many clients; times in milliseconds."""

    server: str
    clients: int
    per_second: float
    p50: float
    p99: float


def compare(environment: BenchEnvironment, seconds: int) -> list[Row]:
    """Everything that can be installed here, one process each; the median of the rounds."""
    commands = dict(_installed())
    rounds: list[list[Row]] = []
    with environment.product("alternatives") as product:
        database = libpq_environment(environment.server, product.name)
        for _ in range(ROUNDS):
            environment.settle()
            inserts = pgbench_inserts(environment.server, product.name, AUTH_EVENTS, seconds=seconds, each_latency=True)
            rows = [Row("pgbench, no HTTP", 64, *inserts)]
            for name, command in commands.items():
                # Only in its turn: the pools of all of them at once leave pgbench too few connections.
                with _serving(command, database) as url:
                    rows += _measured(environment, name, url, seconds)
            rows += _measured(environment, "the product", product.public.url, seconds)
            rounds.append(rows)
    return [_median(rows) for rows in zip(*rounds, strict=True)]


def _measured(environment: BenchEnvironment, name: str, url: str, seconds: int) -> Iterator[Row]:
    for clients in CLIENTS:
        environment.settle()
        load = post_to(url, AUTH_EVENTS, clients=clients, seconds=seconds)
        yield Row(name, clients, load.requests_per_second, load.p50, load.p99)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table, by the number of clients."""
    ordered = sorted(rows, key=lambda row: (row.clients, row.per_second))
    lines = (
        f"| {row.server} | {row.clients} | {row.per_second:,.0f} | {row.p50:.1f} | {row.p99:.1f} |" for row in ordered
    )
    return "\n".join(["| one process | clients | events/s | p50, ms | p99, ms |", "|---|---:|---:|---:|---:|", *lines])


def _median(rows: Sequence[Row]) -> Row:
    return Row(*rows[0][:2], *(median(side) for side in zip(*(row[2:] for row in rows), strict=True)))


def _installed() -> Iterator[tuple[str, list[str]]]:
    for name, install in ALTERNATIVES.items():
        try:
            yield name, install()
        except AlternativeMissingError as error:
            print(f"NOT MEASURED: {name.upper()}, because {error}", file=sys.stderr)


@contextmanager
def _serving(command: list[str], database: Mapping[str, str]) -> Iterator[str]:
    port = free_port()
    env = os.environ | database | {"NODE_ENV": "production"}
    process = subprocess.Popen([*command, str(port)], env=env, cwd=Path(command[-1]).parent)  # noqa: S603
    try:
        wait_listening(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
