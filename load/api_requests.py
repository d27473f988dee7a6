"""The figures of API requests, read from ten million of them and from ten thousand.

The requests and their rollups are made in the database, as the service stores them: it would need an hour.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import httpx2

from contract.api_requests.latency import CELLS_OF_BAND
from load import fills
from load.environment import BenchEnvironment, Product
from load.figures import Figure, milliseconds, ratio
from load.fills import EVENT_ID, Part
from load.wrk import Load, wrk

ROUNDS = 3
# Ranges that are read once each.
READINGS = 7
FEW, MANY = 10_000, 10_000_000
DAYS = 60
ENDPOINTS = 200

_ENDPOINTS = f"""
    INSERT INTO api_endpoint (project_id, endpoint_id, method, url_path)
    SELECT 1, n, (ARRAY['GET', 'POST', 'PUT', 'DELETE'])[1 + n % 4], '/v1/resource-' || n || '/{{id}}'
      FROM generate_series(1, {ENDPOINTS}) AS n
"""  # noqa: S608 - of constants of this file
# Times from 2 ms to some seconds, most of them below 100 ms; a tenth of the requests has an error.
_REQUESTS = """
        INSERT INTO api_request (project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method,
                                 status_code, response_us, consumer)
        SELECT e.project_id, now(), {event_id}, {occurred_at}, e.endpoint_id, e.url_path,
               e.method, (ARRAY[200, 200, 200, 201, 204, 200, 200, 302, 404, 500])[1 + n % 10],
               (2000 * exp(3 * random() + 4 * random() ^ 4))::bigint, 'consumer-' || n % 1000
          FROM {numbers}
          JOIN api_endpoint AS e ON e.project_id = 1 AND e.endpoint_id = 1 + n % {endpoints}
     RETURNING project_id, occurred_at, endpoint_id, client_error, server_error, response_us, latency_band,
               latency_cell % 32 AS cell
"""
_ROLLUPS = {
    "api_request_minute": ("1 minute", ""),
    "api_request_quarter_hour": ("15 minutes", ""),
    "api_request_day": ("1 day", ""),
    "api_request_endpoint_quarter_hour": ("15 minutes", "endpoint_id, "),
    "api_request_endpoint_day": ("1 day", "endpoint_id, "),
}
_CELLS = ", ".join(f"cell_{n}" for n in range(CELLS_OF_BAND))
_COUNTS = ", ".join(f"nullif(count(*) FILTER (WHERE cell = {n}), 0)" for n in range(CELLS_OF_BAND))
_COUNT = """
    {rollup}_rows AS (
        INSERT INTO {rollup} (project_id, bucket_start, {endpoint}latency_band, slot, event_count,
                              client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
                              {cells})
        SELECT project_id, date_bin('{width}', occurred_at, '2000-01-01 00:00:00+00') AS bucket, {endpoint}latency_band,
               0, count(*), sum(client_error), sum(server_error), sum(response_us), min(response_us), max(response_us),
               {counts}
          FROM sent
         GROUP BY project_id, bucket, {endpoint}latency_band
         ORDER BY project_id, bucket, {endpoint}latency_band)
"""


def _of_day(part: Part) -> str:
    """Return the statement that stores the requests of a day and counts them, in rows that no other day has."""
    requests = _REQUESTS.format(
        event_id=EVENT_ID, occurred_at=part.occurred_at, numbers=part.numbers, endpoints=ENDPOINTS
    )
    rollups = ", ".join(
        _COUNT.format(rollup=rollup, width=width, endpoint=endpoint, cells=_CELLS, counts=_COUNTS)
        for rollup, (width, endpoint) in _ROLLUPS.items()
    )
    return f"WITH sent AS ({requests}), {rollups} SELECT count(*) FROM sent"  # noqa: S608 - of constants of this file


def fill(url: str, rows: int) -> None:
    """Store `rows` requests of the last 60 days to 200 endpoints in the first project, which has none."""
    fills.execute(url, _ENDPOINTS)
    fills.run(url, [_of_day(part) for part in fills.parts(rows, DAYS)])
    fills.run(url, fills.presences("api_request", "consumer"))
    fills.execute(url, "VACUUM (ANALYZE)")


def figures(environment: BenchEnvironment, seconds: int) -> Iterator[Figure]:
    """One client that asks for each figure, and 64 that all ask for the same summary."""
    with environment.product("few") as few, environment.product("many") as many:
        fill(environment.server.url(few.name), FEW)
        fill(environment.server.url(many.name), MANY)
        environment.settle()
        now = datetime.now(UTC)
        whole = {"start_date": now - timedelta(days=DAYS), "end_date": now}
        yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
        day = {
            "start_date": yesterday,
            "end_date": yesterday + timedelta(days=1, seconds=-1),
            "granularity": "minute",
        }

        def load(product: Product, url: str, connections: int = 1) -> Load:
            return wrk(url, connections=connections, seconds=seconds, headers=[f"X-API-Key: {product.key}"])

        of = f"{MANY:,} requests in {DAYS} days"
        summary = _url(many, "summary", **whole)
        summaries = [(load(many, summary), load(few, _url(few, "summary", **whole))) for _ in range(ROUNDS)]
        yield milliseconds(f"GET summary of {of}, one client, p99", [each.p99 for each, _ in summaries], 50)
        medians = [(of_many.p50, of_few.p50) for of_many, of_few in summaries]
        yield ratio(f"the same, median ÷ of {FEW:,} requests", medians, "ms", 1.2, better="lower")
        # While nothing changes, those are answers that are kept. A range that nobody has asked for is summed.
        summed = [
            (_once(many, _url(many, "summary", **until)), _once(few, _url(few, "summary", **until)))
            for until in _moved(whole, ("end_date",))
        ]
        yield milliseconds("GET summary, first reading of a range, median", [each for each, _ in summed], 50)
        yield ratio(f"the same ÷ of {FEW:,} requests", summed, "ms", 1.2, better="lower")
        for name, metric, asked, floor in (
            (f"GET endpoints, {ENDPOINTS} of them, {of}, median", "endpoints", whole, 100),
            ("GET minute series of one day, median", "time-series", day, 30),
        ):
            rounds = [load(many, _url(many, metric, **asked)).p50 for _ in range(ROUNDS)]
            yield milliseconds(name, rounds, floor)
        # What no process has read: the same until an earlier day, and the minutes of earlier days.
        for name, metric, asked, moved in (
            ("GET endpoints, first reading of a range, median", "endpoints", whole, ("end_date",)),
            ("GET minute series of one day, first reading, median", "time-series", day, ("start_date", "end_date")),
        ):
            yield milliseconds(name, [_once(many, _url(many, metric, **each)) for each in _moved(asked, moved)])
        statistics = f"{many.public.url}/Log/auth/statistics"
        pollers = [
            (
                load(many, summary, connections=64).requests_per_second,
                wrk(statistics, connections=64, seconds=seconds).requests_per_second,
            )
            for _ in range(ROUNDS)
        ]
        yield ratio("GET summary ÷ GET statistics, 64 clients that ask the same", pollers, "requests/s", 0.5)


def _moved(asked: Mapping[str, object], ends: Sequence[str]) -> list[dict[str, object]]:
    """Return the parameters of READINGS questions: these ends are 1, 2, ... days earlier."""
    return [
        {
            name: each - timedelta(days=ago) if name in ends and isinstance(each, datetime) else each
            for name, each in asked.items()
        }
        for ago in range(1, READINGS + 1)
    ]


def _once(product: Product, url: str) -> float:
    """Return how long one request takes, in milliseconds."""
    with httpx2.Client(headers={"X-API-Key": product.key}, timeout=60, trust_env=False) as client:
        begun = time.perf_counter()
        client.get(url).raise_for_status()
        return 1000 * (time.perf_counter() - begun)


def _url(product: Product, metric: str, **parameters: object) -> str:
    values = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in parameters.items()}
    return f"{product.public.url}/api/v1/projects/default/metrics/{metric}?{urlencode(values)}"
