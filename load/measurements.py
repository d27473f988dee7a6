"""The analysis of a million measurements: of one device, and of a user with a hundred devices.

Beside it, what PostgreSQL and Python offer for the figures of one device. The measurements and their sums are made in
the database, as the service stores them.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal, localcontext
from typing import Any

import httpx2
import psycopg2

from contract.measurements.events import AXES
from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.fills import execute

ROUNDS = 3
ROWS = 1_000_000
DAYS = 20
DEVICES = 100
_USER = "0198c0de-0000-7000-8000-000000000002"

# The first is alone; the others are those of a user.
_DEVICES = f"""
    INSERT INTO device (project_id, device_number, device_id, person_id)
    SELECT 1, n, 'bench-' || n, CASE WHEN n > 1 THEN '{_USER}'::uuid END
      FROM generate_series(1, {1 + DEVICES}) AS n
"""  # noqa: S608 - of constants of this file
# A value of one decimal place, a slow wave, and noise.
_MEASUREMENTS = """
    INSERT INTO measurement (project_id, received_at, event_id, occurred_at, device_number, x, y, z)
    SELECT 1, now(), gen_random_uuid(), now() - n * interval '{days} days' / {rows}, {device},
           round((20 + 5 * random())::numeric, 1), sin(n / 50000.0), round((1000 * random())::numeric, 4)
      FROM generate_series(1, {rows}) AS n
"""
_SUMS = """
    INSERT INTO measurement_quarter_hour
    SELECT project_id, device_number, date_bin('15 minutes', occurred_at, 'epoch'), 0, count(*),
           sum(x::text::numeric), sum(y::text::numeric), sum(z::text::numeric),
           min(x), max(x), min(y), max(y), min(z), max(z)
      FROM measurement
     WHERE {chosen}
     GROUP BY 1, 2, 3
"""
_OF_DEVICE = "FROM measurement WHERE project_id = 1 AND device_number = 1"
_PERCENTILES = f"""
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY x), percentile_cont(0.5) WITHIN GROUP (ORDER BY y),
           percentile_cont(0.5) WITHIN GROUP (ORDER BY z)
    {_OF_DEVICE}
"""
_FLOATS = f"SELECT x, y, z {_OF_DEVICE}"
_DECIMALS = f"SELECT x::text::numeric, y::text::numeric, z::text::numeric {_OF_DEVICE}"
# Enough for the sum of the decimal texts of any doubles.
_DIGITS = 1_100


def add_devices(url: str) -> None:
    """Make the devices in the first project, which has none."""
    execute(url, _DEVICES)


def fill(url: str, rows: int, device: str, chosen: str) -> None:
    """Store `rows` measurements of the last 20 days, and their sums.

    `device` is the number of the device of the row n; `chosen` is true of these devices, which had none.
    """
    execute(
        url,
        _MEASUREMENTS.format(rows=rows, days=DAYS, device=device),
        _SUMS.format(chosen=chosen),
        "VACUUM (ANALYZE)",
    )


def analysis(environment: BenchEnvironment) -> Iterator[Figure]:
    """Extremes, sums and medians over HTTP, beside three `percentile_cont` and the rows in Python."""
    of = f"{ROWS:,} measurements"
    with (
        environment.product("measurements") as product,
        closing(psycopg2.connect(url := environment.server.url(product.name))) as connection,
        httpx2.Client(headers={"X-API-Key": product.key}, timeout=60, trust_env=False) as client,
    ):
        add_devices(url)
        fill(url, ROWS, "1", "device_number = 1")
        environment.settle()

        def of_device() -> list[list[float]]:
            return _axes(_answer(client, product, "devices/bench-1"))

        def of_user() -> list[list[float]]:
            return _axes(_answer(client, product, f"users/{_USER}")["aggregate_stats"])

        if of_device() != _exactly(connection):
            message = "the analysis differs from what Python computes of the decimal values"
            raise AssertionError(message)
        alternatives: dict[str, tuple[float | None, Callable[[], object]]] = {
            "three percentile_cont": (2, lambda: _fetch(connection, _PERCENTILES)),
            "the same figures of the rows in Python": (30, lambda: _exactly(connection)),
            "sums of floats of the rows in Python": (None, lambda: _in_floats(connection)),
        }
        for name, (floor, work) in alternatives.items():
            rounds = [(_milliseconds(work), _milliseconds(of_device)) for _ in range(ROUNDS)]
            yield ratio(f"{name} ÷ analysis of {of}", rounds, "ms", floor)
        fill(url, ROWS, f"2 + n % {DEVICES}", "device_number > 1")
        environment.settle()
        of_user()
        rounds = [(_milliseconds(of_user), _milliseconds(of_device)) for _ in range(ROUNDS)]
        yield ratio(
            f"analysis of a user with {DEVICES} devices ÷ of one device, each {of}", rounds, "ms", None, better="lower"
        )


def _answer(client: httpx2.Client, product: Product, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = client.post(f"{product.public.url}/api/v1/stats/{path}/analyze").raise_for_status().json()
    return answer


def _axes(figures: dict[str, Any]) -> list[list[float]]:
    return [[figures[axis][name] for name in ("min_value", "max_value", "count", "sum", "median")] for axis in AXES]


def _exactly(connection: "psycopg2.extensions.connection") -> list[list[float]]:
    """Return what the analysis has, computed in Python from the decimal values of the rows."""
    with localcontext(prec=_DIGITS):
        return [
            [
                float(min(column)),
                float(max(column)),
                len(column),
                float(sum(column, Decimal(0))),
                float(statistics.median(column)),
            ]
            for column in zip(*_fetch(connection, _DECIMALS), strict=True)
        ]


def _in_floats(connection: "psycopg2.extensions.connection") -> None:
    for column in zip(*_fetch(connection, _FLOATS), strict=True):
        (min(column), max(column), sum(column), statistics.median(column))


def _fetch(connection: "psycopg2.extensions.connection", statement: str) -> list[tuple[Decimal, ...]]:
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def _milliseconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun)
