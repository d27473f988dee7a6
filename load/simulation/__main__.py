"""`make simulate`: what an installation would do under a load, by the service times that were measured."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from load.simulation.costs import MEASURED, Measured, processor_times, read_measured
from load.simulation.spine import ImpossibleError, Installation, Load, Prediction, simulate

_EXAMPLES = """\
examples:
  make simulate ARGS="--public 4 --private 2 --cores 8 --connections 1024"
  make simulate ARGS="--public 4 --cores 8 --rate 20000 --commit-ms 1.5 --network-ms 0.2"
  make simulate ARGS="--together --cores 2 --connections 128 --kind measurement"
  make simulate ARGS="--public 12 --private 4 --workers 4 --cores 8 --batches --connections 64"

Each process of a service has a core of its own, and PostgreSQL has --cores. With --together everything, the load
generator too, shares --cores, as on the machine where the service times were measured. Percentiles are of what a client
waits. What was never tried is arithmetic: docs/scale.md says which figures have been compared with measurements.
"""


_CONNECTIONS = 64
_REQUESTS, _REQUESTS_OF_BATCHES = 30_000, 1_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict, and print a table or JSON; exit status 2 for what cannot be."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        measured = read_measured(given.measured).at_speed(given.speed)
    except OSError as error:
        parser.error(f"{given.measured} cannot be read: {error.strerror}")
    except ValidationError as error:
        first = error.errors()[0]
        parser.error(f"{given.measured} holds no service times: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    if given.costs:
        print(processor_times(measured))
        return 0
    if given.commit_ms is not None:
        measured = measured.with_commit(given.commit_ms)
    if given.connections is None and given.rate is None:
        given.connections = _CONNECTIONS
    try:
        installation = Installation(
            public=given.public,
            private=given.private,
            workers=given.workers,
            cores=measured.cores if given.cores is None else given.cores,
            together=given.together,
            network_seconds=given.network_ms / 1e3,
        )
        load = Load(connections=given.connections, rate=given.rate, kind=given.kind, batches=given.batches)
        requests = given.requests or (_REQUESTS_OF_BATCHES if given.batches else _REQUESTS)
        prediction = simulate(installation, load, measured, seed=given.seed, requests=requests)
    except ImpossibleError as error:
        parser.error(str(error))
    print(_json(installation, load, prediction) if given.json else _table(measured, prediction))
    return 0


def _table(measured: Measured, prediction: Prediction) -> str:
    busiest = sorted(prediction.utilisation.items(), key=lambda part: -part[1])
    rows = [
        ("events/s", f"{prediction.events_per_second:,.0f}"),
        ("requests/s", f"{prediction.requests_per_second:,.1f}"),
        ("refused requests/s", f"{prediction.refused_per_second:,.1f}"),
        ("mean, ms", f"{prediction.mean_ms:.2f}"),
        ("p50, ms", f"{prediction.p50_ms:.2f}"),
        ("p99, ms", f"{prediction.p99_ms:.2f}"),
        ("requests in flight", f"{prediction.in_flight:,.1f}"),
        ("events of a transaction", f"{prediction.flush_events:,.0f}"),
        *((f"{part} busy", f"{share:.0%}") for part, share in busiest),
    ]
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {figure:>12}" for name, figure in rows]
    return "\n".join([*lines, "", f"Service times of {measured.measured_at}: {measured.machine}."])


def _json(installation: Installation, load: Load, prediction: Prediction) -> str:
    said = {"installation": asdict(installation), "load": asdict(load), "prediction": asdict(prediction)}
    said["prediction"]["bottleneck"] = prediction.bottleneck
    return json.dumps(said, indent=2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make simulate",
        description="Predict throughput and latency of an installation from measured service times.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one = _number(int, 1)
    installation = parser.add_argument_group("installation")
    installation.add_argument("--public", type=one, default=1, metavar="N", help="processes of statistics-api (1)")
    installation.add_argument(
        "--private", type=one, default=1, metavar="M", help="processes of device-registration-api (1)"
    )
    installation.add_argument(
        "--workers", type=_number(int, 0), default=0, metavar="W", help="workers of Citus; 0 is one PostgreSQL (0)"
    )
    installation.add_argument(
        "--cores",
        type=_number(float, 0.1),
        metavar="K",
        help="cores of PostgreSQL, or of each node of Citus (as measured)",
    )
    installation.add_argument(
        "--together", action="store_true", help="everything, the load generator too, shares --cores"
    )
    installation.add_argument(
        "--network-ms", type=_number(float, 0), default=0.0, metavar="MS", help="one way between two machines (0)"
    )
    installation.add_argument(
        "--commit-ms",
        type=_number(float, 0),
        metavar="MS",
        help="one flush of WAL, in place of the measured ones and of the pauses",
    )
    installation.add_argument(
        "--speed",
        type=_number(float, 0.01),
        default=1.0,
        metavar="X",
        help="of a core; the measured one has 1 (1)",
    )
    load = parser.add_argument_group("load")
    load.add_argument("--connections", type=one, metavar="C", help="clients that each wait for an answer, as wrk (64)")
    load.add_argument(
        "--rate", type=_number(float, 0.001), metavar="R", help="requests a second, whether or not others are answered"
    )
    load.add_argument("--kind", default="auth_event", help="by the name of its fact table (auth_event)")
    load.add_argument("--batches", action="store_true", help="requests are batches of 10,000 events")
    run = parser.add_argument_group("simulation")
    run.add_argument("--requests", type=one, metavar="N", help="how many are observed (30000, or 1000 batches)")
    run.add_argument("--seed", type=int, default=1, help="the same seed predicts the same (1)")
    run.add_argument("--costs", action="store_true", help="print the service times of an event, and simulate nothing")
    run.add_argument("--json", action="store_true", help="print JSON in place of a table")
    run.add_argument("--measured", type=Path, default=MEASURED, metavar="FILE", help="service times (those delivered)")
    return parser


def _number(kind: Callable[[str], float], least: float) -> Callable[[str], Any]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
        if not least <= number < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not a number of at least {least:g}")
        return number

    return read


if __name__ == "__main__":
    sys.exit(main())
