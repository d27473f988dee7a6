"""The figures of API requests, read from ten million of them and from ten thousand.

The requests and their rollups are made in the database, as the service stores them: it would need an hour.
"""

from datetime import UTC, datetime, timedelta
from statistics import median
from urllib.parse import urlencode

from contract.api_requests.latency import CELLS_OF_BAND
from load.environment import BenchEnvironment, Product
from load.figures import Figure, ratio
from load.wrk import Load, wrk

ROUNDS = 3
FEW, MANY = 10_000, 10_000_000
DAYS = 60
ENDPOINTS = 200
_CHUNK = 1_000_000

_ENDPOINTS = """
    INSERT INTO api_endpoint (project_id, endpoint_id, method, url_path)
    SELECT {project_id}, n, (ARRAY['GET', 'POST', 'PUT', 'DELETE'])[1 + n % 4], '/v1/resource-' || n || '/{{id}}'
      FROM generate_series(1, {endpoints}) AS n
"""
# Times from 2 ms to some seconds, most of them below 100 ms; a tenth of the requests has an error.
_REQUESTS = """
    INSERT INTO api_request (project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method, status_code,
                             response_us, consumer)
    SELECT e.project_id, now(), gen_random_uuid(), now() - random() * interval '{days} days', e.endpoint_id, e.url_path,
           e.method, (ARRAY[200, 200, 200, 201, 204, 200, 200, 302, 404, 500])[1 + n % 10],
           (2000 * exp(3 * random() + 4 * random() ^ 4))::bigint, 'consumer-' || n % 1000
      FROM generate_series(1, {rows}) AS n
      JOIN api_endpoint AS e ON e.project_id = {project_id} AND e.endpoint_id = 1 + n % {endpoints}
"""
_ROLLUPS = {
    "api_request_minute": ("1 minute", ""),
    "api_request_quarter_hour": ("15 minutes", ""),
    "api_request_day": ("1 day", ""),
    "api_request_endpoint_quarter_hour": ("15 minutes", "endpoint_id, "),
    "api_request_endpoint_day": ("1 day", "endpoint_id, "),
}
_CELLS = ", ".join(f"cell_{n}" for n in range(CELLS_OF_BAND))
_COUNTS = ", ".join(f"nullif(count(*) FILTER (WHERE latency_cell % 32 = {n}), 0)" for n in range(CELLS_OF_BAND))
_COUNT = """
    INSERT INTO {rollup} (project_id, bucket_start, {endpoint}latency_band, slot, event_count,
                          client_error_sum, server_error_sum, response_us_sum, response_us_min, response_us_max,
                          {cells})
    SELECT project_id, date_bin('{width}', occurred_at, '2000-01-01 00:00:00+00') AS bucket, {endpoint}latency_band,
           0, count(*), sum(client_error), sum(server_error), sum(response_us), min(response_us), max(response_us),
           {counts}
      FROM api_request
     WHERE project_id = {project_id}
     GROUP BY project_id, bucket, {endpoint}latency_band
"""


def fill(environment: BenchEnvironment, database: str, project_id: int, rows: int) -> None:
    """Store `rows` requests of the last 60 days to 200 endpoints of a project that has none."""
    environment.execute(
        database,
        _ENDPOINTS.format(project_id=project_id, endpoints=ENDPOINTS),
        *(
            _REQUESTS.format(project_id=project_id, rows=min(_CHUNK, rows - begun), endpoints=ENDPOINTS, days=DAYS)
            for begun in range(0, rows, _CHUNK)
        ),
        *(
            _COUNT.format(
                project_id=project_id, rollup=rollup, width=width, endpoint=endpoint, cells=_CELLS, counts=_COUNTS
            )
            for rollup, (width, endpoint) in _ROLLUPS.items()
        ),
        "VACUUM (ANALYZE)",
    )


def figures(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """One client that asks for each figure, and 64 that all ask for the same summary."""
    with environment.product("few") as few, environment.product("many") as many:
        fill(environment, few.name, 1, FEW)
        fill(environment, many.name, 1, MANY)
        environment.settle()
        rounds = [_round(few, many, seconds) for _ in range(ROUNDS)]
    summaries = [each["summary"] for each in rounds]
    of = f"{MANY:,} requests in {DAYS} days"
    return [
        _time(f"GET summary of {of}, one client, p99", [each.p99 for each in summaries], 50),
        ratio(
            f"the same, median ÷ of {FEW:,} requests",
            [(each["summary"].p50, each["summary of few"].p50) for each in rounds],
            "ms",
            1.2,
            better="lower",
        ),
        _time(f"GET endpoints, {ENDPOINTS} of them, {of}, median", [each["endpoints"].p50 for each in rounds], 100),
        _time("GET minute series of one day, median", [each["minutes of a day"].p50 for each in rounds], 30),
        ratio(
            "GET summary ÷ GET statistics, 64 clients that ask the same",
            [(each["pollers"].requests_per_second, each["statistics"].requests_per_second) for each in rounds],
            "requests/s",
            0.5,
        ),
    ]


def _round(few: Product, many: Product, seconds: int) -> dict[str, Load]:
    now = datetime.now(UTC)
    range_of_all = {"start_date": now - timedelta(days=DAYS), "end_date": now}
    yesterday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    range_of_a_day = {
        "start_date": yesterday,
        "end_date": yesterday + timedelta(days=1, seconds=-1),
        "granularity": "minute",
    }
    key = [f"X-API-Key: {many.key}"]
    summary = _url(many, "summary", **range_of_all)
    return {
        "summary": wrk(summary, connections=1, seconds=seconds, headers=key),
        "summary of few": wrk(
            _url(few, "summary", **range_of_all), connections=1, seconds=seconds, headers=[f"X-API-Key: {few.key}"]
        ),
        "endpoints": wrk(_url(many, "endpoints", **range_of_all), connections=1, seconds=seconds, headers=key),
        "minutes of a day": wrk(
            _url(many, "time-series", **range_of_a_day), connections=1, seconds=seconds, headers=key
        ),
        "pollers": wrk(summary, connections=64, seconds=seconds, headers=key),
        "statistics": wrk(f"{many.public.url}/Log/auth/statistics", connections=64, seconds=seconds),
    }


def _url(product: Product, metric: str, **parameters: object) -> str:
    values = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in parameters.items()}
    return f"{product.public.url}/api/v1/projects/default/metrics/{metric}?{urlencode(values)}"


def _time(name: str, milliseconds: list[float], floor: float) -> Figure:
    rounds = "rounds " + ", ".join(f"{each:.1f}" for each in milliseconds)
    return Figure(name, median(milliseconds), floor, "lower", rounds, " ms")
