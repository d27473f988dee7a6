"""`make scale`: measures what docs/scale.md says, renews the service times of the model, and writes the tables.

Takes some ten minutes (its steps were timed, and the whole was not); run it on a machine that does nothing else. The
tables are between comments in the document; what is outside of them is written by hand. `python -m load.scale --write`
writes them again from what the last run has left in `build/bench`, and measures nothing.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from load import predictions, row_sizes, service_times
from load.simulation.costs import MEASURED, Measured, processor_times, read_measured
from load.simulation.spine import FOLLOWER, Installation, Load, simulate

DOCUMENT = Path("docs/scale.md")
_STEPS = ("service times", "predictions", "row sizes")
_SECONDS = "2"
# Of a simulation: a shorter one cuts through too few transactions.
_REQUESTS, _REQUESTS_OF_BATCHES, _SECONDS_MIN = 30_000, 1_000, 0.25


class Stage(NamedTuple):
    """A row of the table of stages: a rate, an installation for it, and what to do when it is not enough."""

    rate: str
    installation: Installation
    load: Load
    next: str


_BATCHES_OF_1E6 = Load(rate=100, batches=True)
_STAGES = (
    Stage("10²", Installation(together=True), Load(rate=100), "nothing"),
    Stage("10³", Installation(together=True), Load(rate=1e3), "a second public process, or batches"),
    Stage("10⁴", Installation(public=2, cores=4), Load(rate=1e4), "a second private process"),
    Stage("5 · 10⁴", Installation(public=8, private=2, cores=8), Load(rate=5e4), "private processes: four"),
    Stage("10⁵", Installation(public=16, private=8, cores=8), Load(rate=1e5), "clients that send batches"),
    Stage("2 · 10⁵", Installation(public=24, private=8, cores=16), Load(rate=2e5), "public processes; batches"),
    Stage("4 · 10⁵", Installation(public=40, private=16, cores=32), Load(rate=4e5), "batches: there are 16 slots"),
    Stage("10⁶ in batches", Installation(public=16, private=16, cores=16), _BATCHES_OF_1E6, "cores of PostgreSQL"),
    Stage(
        "2 · 10⁶ in batches",
        Installation(public=16, private=16, cores=32),
        Load(rate=200, batches=True),
        "another installation: split by project",
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure unless `--write` is given, then write the document; the bench's exit status if a step failed."""
    given = sys.argv[1:] if arguments is None else arguments
    if given not in ([], ["--write"]):
        print("usage: python -m load.scale [--write]", file=sys.stderr)
        return 2
    if not given:
        environment = {"BENCH_SECONDS": _SECONDS, **os.environ}
        # Its status is 1 when a prediction is off by more than the goal, and that is what the tables are to show.
        if (status := subprocess.run([sys.executable, "-m", "load.bench", *_STEPS], env=environment).returncode) > 1:  # noqa: S603, PLW1510
            return status
    missing = [str(each) for each in (service_times.REPORT, predictions.REPORT, row_sizes.REPORT) if not each.exists()]
    if missing:
        print(f"not measured yet: {', '.join(missing)}", file=sys.stderr)
        return 2
    MEASURED.write_text(service_times.REPORT.read_text())
    measured = read_measured()
    tables = {
        "predictions": predictions.REPORT.read_text().strip(),
        "service times": f"{processor_times(measured)}\n\n{measured.measured_at}; {measured.machine}.",
        "row sizes": row_sizes.REPORT.read_text().strip(),
        "stages": stages(measured),
    }
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), tables))
    print("\n\n".join(tables.values()))
    return 0


def stages(measured: Measured, share: float = 1.0) -> str:
    """What the model says of each stage, as a Markdown table, from this share of the requests."""
    lines = [
        "| events/s | public, private, cores of PostgreSQL | answered/s | p50, p99, ms | busiest part | what to add |",
        "|---|---|---:|---:|---|---|",
    ]
    for stage in _STAGES:
        installation, load = stage.installation, stage.load
        requests = _REQUESTS_OF_BATCHES if load.batches else max(_REQUESTS, (load.rate or 0) * _SECONDS_MIN)
        seen = simulate(installation, load, measured, requests=round(share * requests))
        parts = f"{installation.public}, {installation.private}, " + (
            f"all on {installation.cores:g}" if installation.together else f"{installation.cores:g}"
        )
        # The follower delays no answer, so it is told apart.
        parts_busy = {part: busy for part, busy in seen.utilisation.items() if part != FOLLOWER}
        slowest = max(parts_busy, key=lambda part: parts_busy[part])
        busiest = f"{slowest}, {parts_busy[slowest]:.0%}"
        if seen.utilisation.get(FOLLOWER, 0.0) >= 1:
            busiest += "; the follower falls behind"
        figures = f"{seen.events_per_second:,.0f} | {seen.p50_ms:.1f}, {seen.p99_ms:.1f}"
        lines.append(f"| {stage.rate} | {parts} | {figures} | {busiest} | {stage.next} |")
    return "\n".join(lines)


def with_tables(document: str, tables: Mapping[str, str]) -> str:
    """Return the document with each of these tables in its place.

    Raises:
        ValueError: there is not exactly one place for a table.
    """
    for name, table in tables.items():
        begins, ends = f"<!-- table: {name} -->\n", "\n<!-- end -->\n"
        if document.count(begins) != 1 or ends not in document.partition(begins)[2]:
            raise ValueError(f"the document must have one place for the table of {name}")
        before, _, rest = document.partition(begins)
        document = f"{before}{begins}\n{table}\n{ends}{rest.partition(ends)[2]}"
    return document


if __name__ == "__main__":
    sys.exit(main())
