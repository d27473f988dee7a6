"""Reads: against a route that does nothing, and at ten million events against ten thousand."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

from load.environment import BenchEnvironment, Product, wait_listening
from load.figures import Figure, ratio
from load.wrk import wrk
from local.ports import free_port
from statistics_api.auth_events.queries import TOTALS

ROUNDS = 3
SMALL, LARGE = 10_000, 10_000_000
_CHUNK = 1_000_000

FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT 1, now(), gen_random_uuid(), now() - random() * interval '30 days',
           (enum_range(NULL::device_type))[1 + n % 4], 'user-' || n % 100000
      FROM generate_series(1, {rows}) AS n
"""
COUNT = """
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
TIDY = "VACUUM (ANALYZE)"


def fill_statements(rows: int) -> list[str]:
    """The statements that store auth events of the last 30 days and what is counted of them."""
    whole, rest = divmod(rows, _CHUNK)
    chunks = [_CHUNK] * whole + ([rest] if rest else [])
    return [*(FILL.format(rows=chunk) for chunk in chunks), COUNT, TIDY]


def against_an_empty_route(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """GET statistics by one process, 64 clients: beside an empty FastAPI route on the same server, and unchanged."""
    found, not_modified = [], []
    with environment.product("reads") as product, _empty_route() as empty:
        environment.execute(product.name, *fill_statements(SMALL))
        current = [f"If-None-Match: {_current_etag(_statistics(product))}"]
        for _ in range(ROUNDS):
            baseline = wrk(empty, connections=64, seconds=seconds)
            ours = wrk(_statistics(product), connections=64, seconds=seconds)
            unchanged = wrk(_statistics(product), connections=64, seconds=seconds, headers=current)
            found.append((ours.requests_per_second, baseline.requests_per_second))
            not_modified.append((unchanged.requests_per_second, ours.requests_per_second))
    name = "GET statistics, 1 process, 64 clients"
    return [
        ratio(f"{name} ÷ an empty FastAPI route", found, "requests/s", 2.5, target=3),
        ratio(f"{name}, 304 ÷ 200", not_modified, "requests/s", 1.0),
    ]


def at_ten_million(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """Latency of GET statistics at 10,000,000 events ÷ at 10,000, round by round, and the plans of both."""
    with environment.product("small") as small, environment.product("large") as large:
        environment.execute(small.name, *fill_statements(SMALL))
        environment.execute(large.name, *fill_statements(LARGE))
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


def _current_etag(url: str) -> str:
    """The ETag of an answer; a request that names it is answered 304."""
    address = urlsplit(url)
    with closing(HTTPConnection(address.netloc, timeout=5)) as connection:
        connection.request("GET", f"{address.path}?{address.query}")
        response = connection.getresponse()
        response.read()
        etag = response.headers["ETag"]
        connection.request("GET", f"{address.path}?{address.query}", headers={"If-None-Match": etag})
        status = connection.getresponse().status
    if status != HTTPStatus.NOT_MODIFIED:
        message = f"{url} answers {status} to a request that names its ETag {etag}"
        raise ValueError(message)
    return etag


def _statistics(product: Product) -> str:
    return f"{product.public.url}/Log/auth/statistics?deviceType=iOS"


def _plan(environment: BenchEnvironment, product: Product) -> list[str]:
    explain = "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) " + TOTALS.replace("%(project_id)s", "1")
    rows = environment.execute(product.name, explain, explain)  # the first one warms the catalogue
    return [str(line) for (line,) in rows]


@contextmanager
def _empty_route() -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "load.empty_app", str(port)])  # noqa: S603
    try:
        wait_listening(process, port)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()
