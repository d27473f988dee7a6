"""Reads: against a route that does nothing, and at ten million events against ten thousand."""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from urllib.error import URLError

from load.environment import BenchEnvironment, Product, free_port
from load.figures import Figure
from load.wrk import wrk
from statistics_api.auth_events.queries import TOTALS

ROUNDS = 3
SMALL, LARGE = 10_000, 10_000_000
_CHUNK = 1_000_000

_FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT 1, now(), gen_random_uuid(), now() - random() * interval '30 days',
           (enum_range(NULL::device_type))[1 + n % 4], 'user-' || n % 100000
      FROM generate_series(1, {rows}) AS n
"""
_COUNT = """
    INSERT INTO auth_event_total
    SELECT project_id, device_type, 0, count(*) FROM auth_event GROUP BY 1, 2;
    INSERT INTO auth_event_quarter_hour
    SELECT project_id, device_type, date_bin('15 minutes', occurred_at, 'epoch'), 0, count(*)
      FROM auth_event GROUP BY 1, 2, 3;
    INSERT INTO auth_event_minute
    SELECT project_id, device_type, date_bin('1 minute', occurred_at, 'epoch'), 0, count(*)
      FROM auth_event GROUP BY 1, 2, 3
"""
# At once, or autovacuum would do it later, beside what is measured.
_TIDY = "VACUUM (ANALYZE)"


def against_an_empty_route(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """GET statistics by one process beside an empty FastAPI route on the same server, 64 clients each."""
    pairs = []
    with environment.product("reads") as product, _empty_route() as empty:
        environment.execute(product.name, _FILL.format(rows=SMALL), _COUNT, _TIDY)
        for _ in range(ROUNDS):
            baseline = wrk(empty, connections=64, seconds=seconds)
            ours = wrk(_statistics(product), connections=64, seconds=seconds)
            pairs.append((ours.requests_per_second, baseline.requests_per_second))
    ours_median, theirs = (median(side) for side in zip(*pairs, strict=True))
    return [
        Figure(
            "GET statistics, 1 process, 64 clients ÷ an empty FastAPI route",
            median(a / b for a, b in pairs),
            0.70,
            "higher",
            f"{ours_median:,.0f} ÷ {theirs:,.0f} requests/s; rounds " + ", ".join(f"{a / b:.2f}" for a, b in pairs),
            target=0.9,
        )
    ]


def at_ten_million(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Latency of GET statistics at 10,000,000 events ÷ at 10,000, round by round, and the plans of both."""
    with environment.product("small") as small, environment.product("large") as large:
        environment.execute(small.name, _FILL.format(rows=SMALL), _COUNT, _TIDY)
        environment.execute(large.name, *[_FILL.format(rows=_CHUNK)] * (LARGE // _CHUNK), _COUNT, _TIDY)
        environment.settle()
        runs = []
        for turn in range(ROUNDS):
            # Each goes first as often as the other, but for one round: who is first may find the machine busier.
            products = (large, small) if turn % 2 else (small, large)
            seen = {each.name: wrk(_statistics(each), connections=8, seconds=seconds) for each in products}
            runs.append((seen[large.name], seen[small.name]))
        plans = {product.name: _plan(environment, product) for product in (small, large)}
    same = "the same plan and buffers" if plans["small"] == plans["large"] else f"plans differ: {plans}"
    medians = f"{median(a.p50 for a, _ in runs):.2f} ÷ {median(b.p50 for _, b in runs):.2f} ms; {same}"
    tails = f"{median(a.p99 for a, _ in runs):.2f} ÷ {median(b.p99 for _, b in runs):.2f} ms"
    return [
        Figure(
            "GET median at 10,000,000 events ÷ at 10,000",
            median(a.p50 / b.p50 for a, b in runs),
            1.10,
            "lower",
            medians,
            target=1.0,
        ),
        Figure("GET p99 at 10,000,000 events ÷ at 10,000", median(a.p99 / b.p99 for a, b in runs), 1.5, "lower", tails),
    ]


def _statistics(product: Product) -> str:
    return f"{product.public.url}/Log/auth/statistics?deviceType=iOS"


def _plan(environment: BenchEnvironment, product: Product) -> list[str]:
    explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) " + TOTALS.replace("%(project_id)s", "1")
    rows = environment.execute(product.name, explain, explain)  # the first one warms the catalogue
    return [str(line) for (line,) in rows]


@contextmanager
def _empty_route() -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    process = subprocess.Popen([sys.executable, "-m", "load.empty_app", str(port)])  # noqa: S603
    try:
        while True:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except URLError:
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()
