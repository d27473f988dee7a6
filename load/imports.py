"""How fast `device-registration-api import` is: events of 90 days from the old system's tables, for each system."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from load.environment import BenchEnvironment
from load.figures import Figure
from load.old_systems import OLD_SYSTEMS
from local.database import base_environment, migrate
from local.files import private_folder
from local.installation import Installation

# Of plain events.
FLOOR = 50_000
_FLOORS = {"device-statistics-api": FLOOR}


def imports(environment: BenchEnvironment) -> Iterator[Figure]:
    """The whole command, from its start to its report; then again, when it finds everything stored.

    `BENCH_IMPORT_ROWS` (1,000,000) is the number of events, `BENCH_IMPORT_SYSTEMS` the systems, separated by blanks.
    """
    events = int(os.environ.get("BENCH_IMPORT_ROWS", "1000000"))
    systems = os.environ.get("BENCH_IMPORT_SYSTEMS", " ".join(OLD_SYSTEMS)).split()
    if unknown := set(systems) - OLD_SYSTEMS.keys():
        names = f"{', '.join(sorted(unknown))}; the systems are {', '.join(OLD_SYSTEMS)}"
        sys.exit(f"BENCH_IMPORT_SYSTEMS names no system: {names}")
    with tempfile.TemporaryDirectory(prefix="bench-imports-") as name:
        folder = Path(name, "installation")
        private_folder(folder)
        installation = Installation(folder)
        for number, system in enumerate(systems):
            yield from _one(environment, installation, f"imports{number}", system, events)


def _one(
    environment: BenchEnvironment, installation: Installation, name: str, system: str, events: int
) -> Iterator[Figure]:
    environment.execute("postgres", f"CREATE DATABASE {name}_old")
    environment.execute(f"{name}_old", *OLD_SYSTEMS[system].statements(events))
    environment.execute(f"{name}_old", "VACUUM ANALYZE")
    url = environment.server.url(name)
    # Without the services: they would count the users of what is imported meanwhile.
    migrate(url, installation.writer, installation.reader, base_environment(), installation.personal)
    settings = installation.writer.environment(url) | installation.personal_data | installation.account_keys
    for what, floor in (("new", _FLOORS.get(system)), ("stored", None)):
        environment.settle()
        begun = time.monotonic()
        subprocess.run(  # noqa: S603 - this interpreter, and a database that was just made
            [
                *(sys.executable, "-m", "device_registration_api", "import", "--from", system),
                environment.server.url(f"{name}_old"),
            ],
            env=base_environment() | settings | {"RETENTION_DAYS": "0"},
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.monotonic() - begun
        detail = f"{events:,} events of 90 days in {seconds:.1f} s, with the start of the command"
        yield Figure(f"import from {system}, {what} events", events / seconds, floor, "higher", detail, " events/s")
