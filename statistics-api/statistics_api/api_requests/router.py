"""The public routes of API requests: they are recorded with a key of the project, and read by it."""

import asyncio
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from contract.access import Scope
from contract.api_requests.metrics import (
    GRANULARITIES,
    DistributionCell,
    EndpointFigures,
    EndpointSeries,
    SeriesPoint,
    StoredRequest,
    Summary,
)
from contract.delivery import BatchResponse
from servicekit.http.openapi import query, refusals
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import PROJECT_KEY, project_reader, required_key, shown
from statistics_api.access.projects import project_of
from statistics_api.access.queries import Project
from statistics_api.api_requests.kind import API_REQUESTS
from statistics_api.api_requests.pages import (
    PAGE,
    PAGE_SIZE,
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    RowsQuestion,
    rows_question,
)
from statistics_api.api_requests.questions import (
    ENDPOINT_GRANULARITIES,
    EXACT,
    GRANULARITY,
    METHOD,
    RANGE,
    TIMEZONE,
    URL_PATH,
    Metric,
    Question,
    endpoint_series_question,
    question,
    series_question,
)
from statistics_api.api_requests.reader import MetricsReader
from statistics_api.cursors import CURSOR_PARAMETER, LINK_HEADER
from statistics_api.delivery.direct import DirectRecording
from statistics_api.delivery.endpoints import REPLAYED_HEADER, batch_body, event_body, record_batch, record_event
from statistics_api.polling.askers import at_project
from statistics_api.polling.repeated_questions import Asked, Minute, answer
from statistics_api.polling.tagged_answers import ETAG_HEADER, IF_NONE_MATCH, NOT_MODIFIED
from statistics_api.time_series.formats import CSV_RESPONSE, FORMAT_PARAMETER, wants_csv

LARGE_BODIES = {"/api/v1/track/batch": BATCH_BYTES_MAX}
# The direct route, which answers the ordinary requests of one of the routes below.
DIRECT_ROUTES = (DirectRecording(API_REQUESTS, b"/api/v1/track", needs_key=True),)

_METRICS = "/projects/{project_key}/metrics"
_BATCH = [
    {"url_path": "/orders", "method": "POST", "response_status_code": 201, "response_time_ms": 48},
    {
        "url_path": "/orders/{id}",
        "method": "GET",
        "response_status_code": 404,
        "response_time_ms": 3.25,
        "consumer": "app-7",
        "eventId": "request-1",
    },
]
_RECORDING_REFUSALS = refusals(401, 403, 408, 409, 413, 415, 422, 429, 503, as_problem=True)
_REPLAYED: dict[str, Any] = {"headers": REPLAYED_HEADER}
_READING: dict[int | str, dict[str, Any]] = {
    **refusals(401, 403, 404, 422, 429, 503, as_problem=True),
    200: CSV_RESPONSE[200] | {"headers": ETAG_HEADER, "description": "The figures; as CSV, one line a row."},
    **NOT_MODIFIED,
}

router = APIRouter(prefix="/api/v1", tags=["API analytics"])


def _reading(*more: dict[str, Any]) -> dict[str, Any]:
    """The `openapi_extra` of a route with figures of a range."""
    return project_reader() | {"parameters": [PROJECT_KEY, *RANGE.documented(), *more, FORMAT_PARAMETER, IF_NONE_MATCH]}


def _showing(*more: dict[str, Any]) -> dict[str, Any]:
    """That of one whose figures shares show, too."""
    return shown(_reading(*more))


@router.post(
    "/track",
    status_code=201,
    response_model=StoredRequest,
    summary="Record one request that your API answered",
    response_description="The stored row: this is sent after COMMIT",
    responses=_RECORDING_REFUSALS | {201: _REPLAYED},
    openapi_extra=event_body(API_REQUESTS) | required_key(Scope.INGEST),
)
@hot
async def track(request: Request) -> Response:
    """It is recorded in the project of the key. `url_path` is the template of the route, like `/orders/{id}`; a query
    string is cut. Without `ip` the row has no `ip_hash`: the address of the connection is that of your server, and not
    that of its caller.

    If a repeat must not be counted, send an `Idempotency-Key` header or an `eventId`. Both have the same meaning, and
    must be equal if both are sent. Within 48 hours a repeat gets the same row with `Idempotent-Replayed: true`; the
    same key with other values is a 409. The body has at most 64 KiB.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    return await record_event(request, API_REQUESTS, credential.project_id)


@router.post(
    "/track/batch",
    response_model=BatchResponse,
    summary="Record up to 10,000 requests in one transaction",
    response_description="Every item that was not plainly registered is listed",
    responses=_RECORDING_REFUSALS | {200: _REPLAYED},
    openapi_extra=batch_body(API_REQUESTS, _BATCH) | required_key(Scope.INGEST),
)
async def track_batch(request: Request) -> Response:
    """The body is a JSON array, or one JSON object per line (NDJSON); the content type says which. It has at most
    10,000 items and 4 MiB.

    A refused item does not affect the others; it is listed with its index and the reason. An item with an `eventId` is
    counted once, even if it is sent again in another batch or alone. With an `Idempotency-Key`, a repeat of the whole
    batch gets the first response; that key is not the key of any item.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    return await record_batch(request, API_REQUESTS, credential.project_id)


@router.get(
    f"{_METRICS}/summary",
    response_model=Summary,
    summary="All requests of a range in one row",
    responses=_READING | refusals(400, as_problem=True),
    openapi_extra=_showing(
        query(EXACT, bool, "Percentiles of the requests themselves, where all are still kept.", example="true")
    ),
)
@hot
async def summary(request: Request) -> Response:
    """Requests are counted at their `timestamp`. Both ends of the range are included, and it is extended to whole
    minutes; an end more than 34 days ago is extended to a whole quarter of an hour. Without a range, it is the present
    day in the time zone of the project.

    A percentile is within 1 % of the value at rank ceil(q * n). `apdex` counts a request within the threshold of the
    project as 1, and one within four times the threshold as a half. `requests_per_minute` is over the part of the range
    that lies before now, in whole minutes. A range without requests has counts and rates of 0, and null times.

    `distinct_consumers` are exact: those of all days, in the zone of the project, that the range touches. `dropped` is
    what clients said that they lost, in the quarters of an hour that the range touches. `exact=true` takes at most
    1,000,000 requests, and is a 400 where retention has deleted some.
    """
    return await _figures(request, Metric.SUMMARY)


@router.get(
    f"{_METRICS}/endpoints",
    response_model=list[EndpointFigures],
    summary="The same for each endpoint, that with the most requests first",
    responses=_READING,
    openapi_extra=_showing(),
)
@hot
async def endpoints(request: Request) -> Response:
    """An endpoint is a method and a `url_path`. The range is extended to whole quarters of an hour.

    A project has at most 1,000 endpoints, in the order of their first request. All requests of further ones are one
    row: its `url_path` is `(other)`, and its method is null.
    """
    return await _figures(request, Metric.ENDPOINTS)


@router.get(
    f"{_METRICS}/endpoints/time-series",
    response_model=EndpointSeries,
    summary="How many requests each endpoint had in each hour or day",
    responses=_READING | refusals(400, as_problem=True),
    openapi_extra=_showing(
        query(
            GRANULARITY,
            Literal[ENDPOINT_GRANULARITIES],
            f"The width of a bucket. Default: {ENDPOINT_GRANULARITIES[0]}.",
            example="hour",
        ),
    ),
)
@hot
async def endpoint_series(request: Request) -> Response:
    """Endpoints are those of `endpoints`, that with the most requests first. Hours and days are those of UTC, and the
    range is extended to whole ones; it has at most 400.
    """
    project = await project_of(request, request.path_params["project_key"], Scope.READ)
    minute = Minute.present()
    asked = endpoint_series_question(project, request.query_params, minute.begin, as_csv=wants_csv(request))
    return await _answer(request, project, asked, minute)


@router.get(
    f"{_METRICS}/distribution",
    response_model=list[DistributionCell],
    summary="How many requests took how long",
    responses=_READING,
    openapi_extra=_showing(
        query(METHOD, str, "With `url_path`, the method of the one endpoint that is asked for.", example="GET"),
        query(URL_PATH, str, "The path of the endpoint; `(other)` has no method.", example="/orders/{id}"),
    ),
)
@hot
async def distribution(request: Request) -> Response:
    """The cells behind the percentiles that have requests, the fastest first. Both ends of a cell are included; times
    are kept to the microsecond. The range is that of the summary; of one endpoint, whole quarters of an hour.
    """
    return await _figures(request, Metric.DISTRIBUTION)


@router.get(
    f"{_METRICS}/time-series",
    response_model=list[SeriesPoint],
    summary="The requests of each minute, hour or day",
    responses=_READING | refusals(400, as_problem=True),
    openapi_extra=_showing(
        query(
            GRANULARITY,
            Literal[GRANULARITIES],
            f"The width of a bucket. Default: {GRANULARITIES[0]}.",
            example="hour",
        ),
        query(
            TIMEZONE,
            str,
            "An IANA time zone; buckets follow its local time, with days of 23 and 25 hours. Default: the project's.",
            example="Europe/Berlin",
        ),
    ),
)
async def time_series(request: Request) -> Response:
    """Both ends of the range are included, and it is extended to whole buckets. An empty bucket has counts of 0 and
    null times. Without a range, it is the present day.

    A series has at most 10,000 points: a longer range is refused and never cut. Minutes are kept for 35 days.
    """
    project = await project_of(request, request.path_params["project_key"], Scope.READ)
    minute = Minute.present()
    asked = partial(series_question, project, request.query_params, minute.begin, as_csv=wants_csv(request))
    # In a thread: 10,000 points take 15 ms.
    return await _answer(request, project, await asyncio.to_thread(asked), minute)


@router.get(
    _METRICS,
    response_model=list[StoredRequest],
    summary="The requests themselves, the newest first",
    responses=_READING | {200: _READING[200] | {"headers": ETAG_HEADER | LINK_HEADER}},
    openapi_extra=_reading(
        query(PAGE, Annotated[int, Field(ge=1)], "From 1, which is the default.", example=1),
        query(
            PAGE_SIZE,
            Annotated[int, Field(ge=1, le=PAGE_SIZE_MAX)],
            f"Default: {PAGE_SIZE_DEFAULT}.",
            example=PAGE_SIZE_DEFAULT,
        ),
        CURSOR_PARAMETER,
    ),
)
async def requests(request: Request) -> Response:
    """Both ends of the range are included. Without a range, it is the present day. Rows are kept as long as the project
    or the installation says; the figures outlive them.

    `Link: rel="next"` leads to the next page, and to no row twice, even while more are recorded. `page` reaches 100,000
    rows.
    """
    project = await project_of(request, request.path_params["project_key"], Scope.READ)
    path = f"/api/v1/projects/{project.project_key}/metrics"
    minute = Minute.present()
    asked = rows_question(project, path, request.query_params, minute.begin, as_csv=wants_csv(request))
    return await _answer(request, project, asked, minute)


async def _figures(request: Request, metric: Metric) -> Response:
    project = await project_of(request, request.path_params["project_key"], Scope.READ)
    minute = Minute.present()
    asked = question(metric, project, request.query_params, minute.begin, as_csv=wants_csv(request))
    return await _answer(request, project, asked, minute)


async def _answer(request: Request, project: Project, question: Question | RowsQuestion, minute: Minute) -> Response:
    reader: MetricsReader = request.state.readers[API_REQUESTS.name]
    identify = at_project(request.path_params["project_key"])
    return await answer(request, reader.answers, Asked(question, project, identify, minute, question.points))
