"""The public routes of family 1. The two hot ones take the fast path (servicekit.middleware.fast_path)."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import NamedTuple

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from contract.access import Scope
from contract.auth_events.events import (
    DeviceType,
    DeviceTypeCount,
    Registered,
    Statistics,
    TimeSeries,
    invalid_device_type,
)
from contract.delivery import BatchResponse
from contract.users import UserNumbers
from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.errors import BadRequest
from servicekit.http.openapi import query, refusals
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from servicekit.process import clock
from statistics_api.access.credentials import credential_of
from statistics_api.access.documentation import optional_key, shown
from statistics_api.auth_events import queries
from statistics_api.auth_events.direct import DirectStatistics
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.auth_events.totals import Totals
from statistics_api.delivery.direct import DirectRecording
from statistics_api.delivery.endpoints import REPLAYED_HEADER, batch_body, event_body, record_batch, record_event
from statistics_api.polling.askers import with_optional_key
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.repeated_questions import Asked, Minute, answer
from statistics_api.polling.tagged_answers import ETAG_HEADER, IF_NONE_MATCH, NOT_MODIFIED, TaggedAnswer
from statistics_api.time_series.formats import (
    CSV_RESPONSE,
    FORMAT_PARAMETER,
    csv_series,
    json_series,
    local_times,
    wants_csv,
)
from statistics_api.time_series.ranges import Range, RangeParameters
from statistics_api.time_series.users import RANGE, AskedDays

LARGE_BODIES = {"/Log/auth/batch": BATCH_BYTES_MAX}
# The direct routes, which answer the ordinary requests of two of the routes below.
DIRECT_ROUTES = (DirectRecording(AUTH_EVENTS, b"/Log/auth"), DirectStatistics())
READ_SECONDS_MAX = 3.0

_BATCH = [
    {"userKey": "user-456", "deviceType": "Android"},
    {"userKey": "user-789", "deviceType": "iOS", "eventId": "sign-in-1"},
]
_RANGE = RangeParameters(
    default_ranges={
        "hour": timedelta(days=1),
        "minute": timedelta(hours=1),
        "day": timedelta(days=30),
        "month": timedelta(days=365),
    }
)

router = APIRouter(prefix="/Log/auth", tags=["auth events"])


class SeriesKey(NamedTuple):
    """The parameters of a time series; requests with the same parameters at the same time share one query."""

    project_id: int
    device_types: tuple[DeviceType, ...]
    range: Range


class UsersKey(NamedTuple):
    """The parameters of a question for the number of users."""

    project_id: int
    device_type: DeviceType | None
    days: AskedDays


class StatisticsReader:
    """Reads totals, series and numbers of users; one for each process, so that its requests share queries."""

    def __init__(self, database: Database) -> None:
        async def read_totals(project_id: int) -> Totals:
            work = partial(queries.totals, project_id=project_id)
            return Totals(await database.run(work, READ_SECONDS_MAX), project_id)

        async def read_series(key: SeriesKey) -> dict[DeviceType, list[int]]:
            work = partial(
                queries.series,
                project_id=key.project_id,
                device_types=key.device_types,
                interval=key.range.interval,
                edges=key.range.edges,
            )
            return await database.run(work, READ_SECONDS_MAX)

        self.totals = CollapsedReads(read_totals)

        self.series = CollapsedReads(read_series)
        self.users = CurrentAnswers[UsersKey](database, _users, seconds_max=READ_SECONDS_MAX)


@router.post(
    "",
    response_model=Registered,
    summary="Record one event",
    response_description="Recorded: this is sent after COMMIT",
    responses=refusals(400, 401, 403, 408, 409, 413, 415, 422, 429, 503) | {200: {"headers": REPLAYED_HEADER}},
    openapi_extra=event_body(AUTH_EVENTS) | optional_key(Scope.INGEST),
)
@hot
async def log_auth(request: Request) -> Response:
    """The same user may register any number of times.

    If a repeat must not be counted, send an `Idempotency-Key` header or an `eventId`. Both have the same meaning, and
    must be equal if both are sent. Within 48 hours a repeat gets the same response with `Idempotent-Replayed: true`;
    the same key with other values is a 409. The body has at most 64 KiB.
    """
    credential = await credential_of(request, Scope.INGEST)
    return await record_event(request, AUTH_EVENTS, credential.project_id)


@router.post(
    "/batch",
    response_model=BatchResponse,
    summary="Record up to 10,000 events in one transaction",
    response_description="Every item that was not plainly registered is listed",
    responses=refusals(401, 403, 408, 409, 413, 415, 422, 429, 503) | {200: {"headers": REPLAYED_HEADER}},
    openapi_extra=batch_body(AUTH_EVENTS, _BATCH) | optional_key(Scope.INGEST),
)
async def log_auth_batch(request: Request) -> Response:
    """The body is a JSON array, or one JSON object per line (NDJSON); the content type says which. It has at most
    10,000 items and 4 MiB.

    A refused item does not affect the others; it is listed with its index and the reason. An item with an `eventId` is
    counted once, even if it is sent again in another batch or as a single event. With an `Idempotency-Key`, a repeat of
    the whole batch gets the first response; that key is not the key of any event.
    """
    credential = await credential_of(request, Scope.INGEST)
    return await record_batch(request, AUTH_EVENTS, credential.project_id)


@router.get(
    "/statistics",
    response_model=DeviceTypeCount | Statistics,
    summary="How many events, of one device type or of each",
    responses=refusals(400, 401, 403, 422, 429, 503) | {200: {"headers": ETAG_HEADER}} | NOT_MODIFIED,
    openapi_extra=shown(optional_key(Scope.READ))
    | {
        "parameters": [
            query("deviceType", DeviceType, "Without it: all device types and their total.", example="iOS"),
            IF_NONE_MATCH,
        ]
    },
)
@hot
async def statistics(request: Request) -> Response:
    """The counts are exact, include all events ever recorded, and are read-your-writes: an event that was answered with
    200 is in the next count.
    """
    credential = await credential_of(request, Scope.READ)
    device_type = _device_type(request)
    reader: StatisticsReader = request.state.readers[AUTH_EVENTS.name]
    return (await reader.totals.get(credential.project_id)).answer(device_type).respond(request)


@router.get(
    "/timeseries",
    response_model=TimeSeries,
    summary="How many events in each minute, hour, day or month",
    responses=refusals(400, 401, 403, 422, 429, 503) | CSV_RESPONSE,
    openapi_extra=shown(optional_key(Scope.READ))
    | {
        "parameters": [
            query("deviceType", DeviceType, "Without it: one series for each device type.", example="iOS"),
            *_RANGE.documented(),
            FORMAT_PARAMETER,
        ]
    },
)
async def timeseries(request: Request) -> Response:
    """Events are counted at their `occurredAt`. The range is extended to whole buckets, and an empty bucket has the
    count 0.

    A series has at most 10,000 points: a longer range is refused and never cut. Minutes are kept for 35 days.
    """
    credential = await credential_of(request, Scope.READ)
    device_type = _device_type(request)
    as_csv = wants_csv(request)
    # Both the range and the response are computed in a thread: 10,000 points of four types take 15 ms and 45 ms.
    requested = await asyncio.to_thread(_RANGE.read, request.query_params, clock.now())
    device_types = tuple(DeviceType) if device_type is None else (device_type,)
    reader: StatisticsReader = request.state.readers[AUTH_EVENTS.name]
    counts = await reader.series.get(SeriesKey(credential.project_id, device_types, requested))
    return await asyncio.to_thread(_series_as_csv if as_csv else _series_as_json, requested, counts)


@router.get(
    "/users",
    response_model=UserNumbers,
    summary="How many different users a range of days had",
    responses=refusals(400, 401, 403, 404, 422, 429, 503) | {200: {"headers": ETAG_HEADER}} | NOT_MODIFIED,
    openapi_extra=shown(optional_key(Scope.READ))
    | {
        "parameters": [
            *RANGE.documented(),
            query("deviceType", DeviceType, "Only those with an event of this type. Default: any.", example="iOS"),
            IF_NONE_MATCH,
        ]
    },
)
@hot
async def users(request: Request) -> Response:
    """Exact for any range of days, in the time zone of the project (UTC without a key): each `userKey` is counted once,
    at the `occurredAt` of its events. A new user had no event before `from`, of that type if one is asked for; the
    others are returning. An event that was answered with 200 is in the next number.

    Users are counted since the oldest event that was stored when this release was installed, and stay counted when
    their events are deleted.
    """
    credential = await credential_of(request, Scope.READ)
    minute = Minute.present()
    key = UsersKey(credential.project_id, _device_type(request), AskedDays.of(request, minute.begin))
    reader: StatisticsReader = request.state.readers[AUTH_EVENTS.name]
    return await answer(request, reader.users, Asked(key, credential.project_id, with_optional_key, minute))


def _users(lease: Lease, key: UsersKey) -> TaggedAnswer:
    days = key.days.read(lease, key.project_id)
    answer = days.answer(queries.users(lease, key.project_id, key.device_type, days))
    return TaggedAnswer(to_json(answer), key.project_id)


def _series_as_json(requested: Range, counts: Mapping[DeviceType, list[int]]) -> Response:
    """Return the JSON of a TimeSeries, made without its models, which take 66 of 100 ms."""
    starts = local_times(requested.edges, requested.zone)
    return json_series(
        to_json(
            {
                "interval": requested.interval,
                "timezone": requested.zone.key,
                "from": starts[0],
                "to": starts[-1],
                "series": [
                    {
                        "deviceType": device_type,
                        "points": [
                            {"start": start, "count": count} for start, count in zip(starts, each, strict=False)
                        ],
                    }
                    for device_type, each in counts.items()
                ],
            }
        )
    )


def _series_as_csv(requested: Range, counts: Mapping[DeviceType, list[int]]) -> Response:
    starts = local_times(requested.edges, requested.zone)
    rows = (
        (device_type, start, count)
        for device_type, each in counts.items()
        for start, count in zip(starts, each, strict=False)
    )
    return csv_series(("deviceType", "start", "count"), rows, name="timeseries.csv")


def _device_type(request: Request) -> DeviceType | None:
    name = request.query_params.get("deviceType")
    if name is None:
        return None
    try:
        return DeviceType(name)
    except ValueError:
        raise BadRequest(invalid_device_type(name)) from None
