"""`make bench`: every figure of docs/performance.md, measured in one run, as a table and a plot.

BENCH_SECONDS (8) is the length of one measurement, BENCH_MEMORY_SECONDS (300) that of the memory run. Takes about
twenty minutes and five gigabytes; run it on a machine that does nothing else. Arguments choose steps by their names.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from load import api_requests, footprint, measurements, reads, store_events, writes
from load.alternatives import comparison
from load.dashboards import dashboards
from load.environment import BenchEnvironment
from load.exports import exports
from load.figures import Figure, plot, row, table
from load.imports import imports
from load.instructions import instructions
from load.neighbours import neighbours
from load.predictions import predictions
from load.row_sizes import row_sizes
from load.service_times import service_times
from load.wrk import WrkMissingError
from local.postgres import Postgres, wheel_binaries

_REPORT = Path("build/bench")


def main() -> int:
    """Measure; exit status 1 when a floor was missed."""
    seconds = int(os.environ.get("BENCH_SECONDS", "8"))
    memory_seconds = int(os.environ.get("BENCH_MEMORY_SECONDS", "300"))
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        server = Postgres(folder / "postgres", wheel_binaries())
        server.start()
        try:
            environment = BenchEnvironment(server, folder)
            steps: list[tuple[str, Callable[[], Iterable[Figure]]]] = [
                ("single events", lambda: writes.single_events(environment, seconds)),
                ("other kinds", lambda: writes.other_kinds(environment, seconds)),
                ("keyed events", lambda: writes.keyed_events(environment, seconds)),
                ("a lone event", lambda: writes.a_lone_event(environment, seconds)),
                ("batches", lambda: writes.batches(environment, seconds)),
                ("reads", lambda: reads.against_an_empty_route(environment, seconds)),
                ("reads at ten million events", lambda: reads.at_ten_million(environment, seconds)),
                ("neighbours", lambda: neighbours(environment, seconds)),
                ("dashboards", lambda: dashboards(environment, seconds)),
                ("figures of API requests", lambda: api_requests.figures(environment, seconds)),
                ("figures of a store", lambda: store_events.figures(environment, seconds)),
                ("analysis of measurements", lambda: measurements.analysis(environment)),
                ("exports", lambda: exports(environment)),
                ("imports", lambda: imports(environment)),
                ("alternatives", lambda: alternatives(environment, seconds)),
                ("memory", lambda: footprint.memory(environment, memory_seconds)),
                ("second start", footprint.second_start),
                ("instructions", instructions),
                ("row sizes", lambda: row_sizes(environment, seconds)),
                ("predictions", lambda: predictions(environment, seconds)),
                ("service times", lambda: service_times(environment, seconds)),
            ]
            chosen = sys.argv[1:]
            if unknown := set(chosen) - {title for title, _ in steps}:
                print(f"no step is called {', '.join(sorted(unknown))}", file=sys.stderr)
                return 2
            for title, step in steps:
                if not chosen or title in chosen:
                    print(f"measuring {title} ...", file=sys.stderr, flush=True)
                    for figure in step():
                        figures.append(figure)
                        # At once: a run that is cut short keeps what it had.
                        print(row(figure), file=sys.stderr, flush=True)
                        _write_table(figures)
        except WrkMissingError as error:
            print(error, file=sys.stderr)
            return 2
        finally:
            server.stop()
    _write_table(figures)
    plot(figures, _REPORT / "figures.svg")
    print(table(figures))
    print(f"\nwritten to {_REPORT}/figures.md and {_REPORT}/figures.svg", file=sys.stderr)
    return 0 if all(figure.met for figure in figures) else 1


def _write_table(figures: Sequence[Figure]) -> None:
    _REPORT.mkdir(parents=True, exist_ok=True)
    (_REPORT / "figures.md").write_text(table(figures) + "\n")


def alternatives(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """No figure with a floor, but a table of its own: what users might pick instead has no duty towards us."""
    compared = comparison.table(comparison.compare(environment, seconds))
    _REPORT.mkdir(parents=True, exist_ok=True)
    (_REPORT / "alternatives.md").write_text(compared + "\n")
    print(f"{compared}\n")
    return []


if __name__ == "__main__":
    sys.exit(main())
