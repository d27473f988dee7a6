"""The analysis of a million measurements of one device, beside what PostgreSQL and Python offer for it.

The measurements and their sums are made in the database, as the service stores them.
"""

import statistics
import time
from collections.abc import Callable
from contextlib import closing

import httpx2
import psycopg2

from load.environment import BenchEnvironment
from load.figures import Figure, ratio

ROUNDS = 3
ROWS = 1_000_000
DAYS = 20

_DEVICE = "INSERT INTO device (project_id, device_number, device_id) VALUES (1, 1, 'bench')"
# A random walk of one decimal place, a slow wave, and noise.
_MEASUREMENTS = f"""
    INSERT INTO measurement (project_id, received_at, event_id, occurred_at, device_number, x, y, z)
    SELECT 1, now(), gen_random_uuid(), now() - n * interval '{DAYS} days' / {ROWS}, 1,
           round((20 + 5 * random())::numeric, 1), sin(n / 50000.0), round((1000 * random())::numeric, 4)
      FROM generate_series(1, {ROWS}) AS n
"""  # noqa: S608 - of constants of this file
_SUMS = """
    INSERT INTO measurement_quarter_hour
    SELECT project_id, device_number, date_bin('15 minutes', occurred_at, 'epoch'), 0, count(*),
           sum(x::text::numeric), sum(y::text::numeric), sum(z::text::numeric),
           min(x), max(x), min(y), max(y), min(z), max(z)
      FROM measurement
     GROUP BY 1, 2, 3
"""
_PERCENTILES = """
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x), percentile_cont(0.5) WITHIN GROUP (ORDER BY y),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY z)
      FROM measurement
     WHERE project_id = 1 AND device_number = 1
"""
_ROWS = "SELECT x, y, z FROM measurement WHERE project_id = 1 AND device_number = 1"


def analysis(environment: BenchEnvironment) -> list[Figure]:
    """Extremes, sums and medians of all measurements: over HTTP, by three `percentile_cont`, and in Python."""
    with environment.product("measurements") as product:
        environment.execute(product.name, _DEVICE, _MEASUREMENTS, _SUMS, "VACUUM (ANALYZE)")
        environment.settle()
        with (
            closing(psycopg2.connect(environment.server.url(product.name))) as connection,
            httpx2.Client(headers={"X-API-Key": product.key}, timeout=60, trust_env=False) as client,
        ):
            url = f"{product.public.url}/api/v1/stats/devices/bench/analyze"

            def over_http() -> None:
                assert client.post(url).raise_for_status().json()["x"]["count"] == ROWS  # noqa: S101 - of the bench

            rounds = [
                tuple(
                    map(
                        _milliseconds,
                        (over_http, lambda: _fetch(connection, _PERCENTILES), lambda: _in_python(connection)),
                    )
                )
                for _ in range(ROUNDS)
            ]
    of = f"{ROWS:,} measurements"
    return [
        ratio(f"analysis of {of} ÷ three percentile_cont", [(a, b) for a, b, _ in rounds], "ms", None, better="lower"),
        ratio(f"analysis of {of} ÷ rows into Python", [(a, c) for a, _, c in rounds], "ms", None, better="lower"),
    ]


def _fetch(connection: "psycopg2.extensions.connection", statement: str) -> list[tuple[float, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _in_python(connection: "psycopg2.extensions.connection") -> None:
    for column in zip(*_fetch(connection, _ROWS), strict=True):
        (min(column), max(column), sum(column), statistics.median(column))


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)
