"""What the product is measured against: PostgreSQL itself, doing the same work without us."""

import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from uuid_utils import uuid7

from load.kinds import BenchKind
from local.postgres import Postgres

BATCH_ROWS = 10_000
# Of the event that is posted over and over.
NUMBER = 123


def pgbench_inserts_per_second(
    server: Postgres, database: str, kind: BenchKind, *, seconds: int, clients: int = 64
) -> float:
    """pgbench inserting one row a transaction by a prepared statement."""
    values = ", ".join(["1", "now()", "gen_random_uuid()", "now()", *(f"'{each}'" for each in kind.own_values(NUMBER))])
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(f"INSERT INTO {kind.fact} ({kind.columns}) VALUES ({values});")  # noqa: S608 - values of ours
        script.flush()
        run = f"-n -M prepared -c {clients} -j 2 -T {seconds} -f {script.name}".split()
        output = _client(server, "pgbench", database, *run)
    match = re.search(r"tps = ([\d.]+)", output)
    if match is None:
        message = f"pgbench said nothing of tps:\n{output}"
        raise ValueError(message)
    return float(match[1])


def copied_rows_per_second(
    server: Postgres, database: str, kind: BenchKind, *, connections: int, batches: int
) -> float:
    """psql copying `batches` files of 10,000 rows over each of `connections` connections at once."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = [_copy_script(Path(folder), kind, connection, batches) for connection in range(connections)]
        begun = time.perf_counter()
        with ThreadPoolExecutor(connections) as pool:
            list(pool.map(lambda script: _client(server, "psql", database, "-q", "-f", str(script)), scripts))
        return connections * batches * BATCH_ROWS / (time.perf_counter() - begun)


def _copy_script(folder: Path, kind: BenchKind, connection: int, batches: int) -> Path:
    now = datetime.now(UTC).isoformat()
    script = folder / f"{connection}.sql"
    lines = []
    for batch in range(batches):
        file = folder / f"{connection}-{batch}.tsv"
        rows = (["1", now, str(uuid7()), now, *kind.own_values(number)] for number in range(BATCH_ROWS))
        file.write_text("".join("\t".join(row) + "\n" for row in rows))
        lines.append(f"\\copy {kind.fact} ({kind.columns}) from '{file}'\n")
    script.write_text("".join(lines))
    return script


def _client(server: Postgres, program: str, database: str, *arguments: str) -> str:
    environment = os.environ | {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.password,
        "PGDATABASE": database,
    }
    command = [str(server.binaries / program), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout  # noqa: S603
