"""What the product is measured against: PostgreSQL itself, doing the same work without us."""

import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from load.figures import percentiles
from load.write_loads import WriteLoad
from local.postgres import Postgres

BATCH_ROWS = 10_000


class Inserts(NamedTuple):
    """What one run of pgbench did; times in milliseconds."""

    per_second: float
    p50: float
    p99: float


def pgbench_inserts(
    server: Postgres, database: str, load: WriteLoad, *, seconds: int, clients: int = 64, each_latency: bool = False
) -> Inserts:
    """pgbench inserting one row a transaction by a prepared statement.

    The time of each transaction is written down only when it is asked for, because that costs time itself; without it
    both percentiles are 0.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "insert.sql"
        script.write_text(load.insert)
        threads = min(2, clients)
        run = f"-n -M prepared -c {clients} -j {threads} -T {seconds} -f {script}".split()
        run += ["-l", f"--log-prefix={folder}/latencies"] if each_latency else []
        output = _client(server, "pgbench", database, *run)
        logs = [each.read_text() for each in folder.glob("latencies.*")]
    return Inserts(transactions_per_second(output), *latency_percentiles("".join(logs)))


def transactions_per_second(output: str) -> float:
    """What pgbench says at its end.

    Raises:
        ValueError: it says nothing of it.
    """
    match = re.search(r"tps = ([\d.]+)", output)
    if match is None:
        message = f"pgbench said nothing of tps:\n{output}"
        raise ValueError(message)
    return float(match[1])


def latency_percentiles(log: str) -> tuple[float, float]:
    """The median and the 99th percentile of pgbench's transaction log, in milliseconds; zeros when it is empty."""
    # A line: client, transaction, microseconds, file, second, microsecond.
    milliseconds = [int(line.split()[2]) / 1000 for line in log.splitlines()]
    return percentiles(milliseconds) if milliseconds else (0.0, 0.0)


def copied_rows_per_second(
    server: Postgres, database: str, load: WriteLoad, *, connections: int, batches: int
) -> float:
    """psql copying `batches` files of 10,000 rows over each of `connections` connections at once."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = [_copy_script(Path(folder), load, connection, batches) for connection in range(connections)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(lambda script: _client(server, "psql", database, "-q", "-f", str(script)), scripts))
        return connections * batches * BATCH_ROWS / (time.perf_counter() - begun)


def _copy_script(folder: Path, load: WriteLoad, connection: int, batches: int) -> Path:
    script = folder / f"{connection}.sql"
    lines = []
    for batch in range(batches):
        file = folder / f"{connection}-{batch}.tsv"
        file.write_text(load.copy_rows(BATCH_ROWS))
        lines.append(f"\\copy {load.fact} ({load.columns}) from '{file}'\n")
    script.write_text("".join(lines))
    return script


def _client(server: Postgres, program: str, database: str, *arguments: str) -> str:
    environment = os.environ | libpq_environment(server, database)
    command = [str(server.binaries / program), *arguments]
    finished = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603
    if finished.returncode != 0:
        message = f"{program} ended with status {finished.returncode}: {finished.stderr.strip()}"
        raise RuntimeError(message)
    return finished.stdout


def libpq_environment(server: Postgres, database: str) -> dict[str, str]:
    """The variables by which a client of PostgreSQL reaches a database as its administrator."""
    return {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
        "PGDATABASE": database,
    }
