"""The public routes of family 1. The two hot ones take the fast path (servicekit.middleware.fast_path)."""

import json
from datetime import datetime
from functools import partial
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Request, Response
from pydantic import Field
from pydantic_core import to_json

from contract.auth_events.events import (
    AuthEvent,
    DeviceType,
    DeviceTypeCount,
    Registered,
    Series,
    Statistics,
    TimeSeries,
    invalid_device_type,
)
from contract.delivery import BATCH_ITEMS_MAX, BatchResponse
from contract.projects import DEFAULT_PROJECT_ID
from contract.time_series import Interval, Point
from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.pool import Database
from servicekit.errors import BadRequest
from servicekit.http.bodies import KEY_HEADER, read_bytes, read_idempotency_key
from servicekit.http.etag import is_current, strong_etag
from servicekit.http.openapi import json_body, query, refusals
from servicekit.http.strict_json import decode
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from servicekit.process import clock
from statistics_api.auth_events import queries
from statistics_api.auth_events.accepting import accept, read_event
from statistics_api.auth_events.batches import NDJSON, read_batch
from statistics_api.auth_events.gateway import Gateway
from statistics_api.time_series.ranges import Range, read_range

LARGE_BODIES = {"/Log/auth/batch": BATCH_BYTES_MAX}
READ_SECONDS_MAX = 3.0

_REPLAYED = {"Idempotent-Replayed": "true"}
# Answers that are always the same are made once.
_REGISTERED, _REGISTERED_BEFORE = (
    Response(Registered().model_dump_json(by_alias=True), headers=headers, media_type="application/json")
    for headers in (None, _REPLAYED)
)
_BATCH = [
    {"userKey": "user-456", "deviceType": "Android"},
    {"userKey": "user-789", "deviceType": "iOS", "eventId": "sign-in-1"},
]
_REPLAYED_HEADER = {
    "Idempotent-Replayed": {"description": "`true`: this was recorded before.", "schema": {"type": "string"}}
}
_ETAG_HEADER = {"ETag": {"description": "Changes whenever the answer does.", "schema": {"type": "string"}}}
DEFAULTS = "the last hour by minute, the last day by hour, 30 days by day, 365 days by month"

router = APIRouter(prefix="/Log/auth", tags=["auth events"])


class SeriesKey(NamedTuple):
    """What a time series is asked for; those who ask the same at the same time share one query."""

    project_id: int
    device_types: tuple[DeviceType, ...]
    range: Range


class StatisticsReader:
    """The shared reader of one process."""

    def __init__(self, database: Database) -> None:
        async def read_totals(project_id: int) -> dict[DeviceType, int]:
            return await database.run(partial(queries.totals, project_id=project_id), READ_SECONDS_MAX)

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


@router.post(
    "",
    response_model=Registered,
    summary="Record one event",
    response_description="Recorded: this is sent after COMMIT",
    responses=refusals(400, 408, 409, 413, 422, 429, 503) | {200: {"headers": _REPLAYED_HEADER}},
    openapi_extra=json_body(AuthEvent, headers=(KEY_HEADER,)),
)
@hot
async def log_auth(request: Request) -> Response:
    """The same user may register any number of times. With an `Idempotency-Key`, a repeat counts nothing."""
    key = read_idempotency_key(request)
    # The parser alone: what is beyond its rules is the model's to refuse, in the fields that are read.
    event = read_event(AuthEvent, decode(await read_bytes(request)), "body")
    registration = accept(event, key or event.event_id, clock.now(), "body")
    gateway: Gateway = request.state.gateway
    # Resolves after the private service committed: a 200 means durable.
    replayed = await gateway.register(registration, request.scope["request_id"])
    return _REGISTERED_BEFORE if replayed else _REGISTERED


@router.post(
    "/batch",
    response_model=BatchResponse,
    summary="Record up to 10,000 events in one transaction",
    response_description="Every item that was not plainly registered is listed",
    responses=refusals(408, 409, 413, 422, 429, 503) | {200: {"headers": _REPLAYED_HEADER}},
    openapi_extra=json_body(
        Annotated[list[AuthEvent], Field(max_length=BATCH_ITEMS_MAX, examples=[_BATCH])],
        headers=(KEY_HEADER,),
        extra_content={
            NDJSON: {
                "schema": {
                    "type": "string",
                    "description": "One event a line",
                    "examples": ["\n".join(map(json.dumps, _BATCH))],
                }
            }
        },
    ),
)
async def log_auth_batch(request: Request) -> Response:
    """A JSON array, or one JSON object a line. An item that is refused does not harm the others.

    With an `Idempotency-Key`, a repeat of the whole batch gets the first answer; an item with an `eventId` is
    counted once, whatever batch it comes in.
    """
    batch = await read_batch(request, clock.now())
    gateway: Gateway = request.state.gateway
    reply = await gateway.register_batch(batch, request.scope["request_id"])
    body = reply.answer.model_dump_json(by_alias=True)
    return Response(body, headers=_REPLAYED if reply.replayed else None, media_type="application/json")


@router.get(
    "/statistics",
    response_model=DeviceTypeCount | Statistics,
    summary="How many events, of one device type or of each",
    responses=refusals(400, 422, 429, 503)
    | {200: {"headers": _ETAG_HEADER}, 304: {"description": "Still the answer you have"}},
    openapi_extra={
        "parameters": [
            query("deviceType", DeviceType, "Without it: all device types and their total.", example="iOS"),
            {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}},
        ]
    },
)
@hot
async def statistics(request: Request) -> Response:
    """Exact, for ever, and read-your-writes: an event that was answered with 200 is in the next count."""
    device_type = _device_type(request)
    reader: StatisticsReader = request.state.reader
    counts = await reader.totals.get(DEFAULT_PROJECT_ID)
    if device_type is not None:
        body = to_json({"deviceType": device_type, "count": counts[device_type]})
    else:
        each = [{"deviceType": device_type, "count": counts[device_type]} for device_type in sorted(counts)]
        body = to_json({"statistics": each, "total": sum(counts.values())})
    etag = strong_etag(body)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_current(request.scope, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


@router.get(
    "/timeseries",
    response_model=TimeSeries,
    summary="How many events in each minute, hour, day or month",
    responses=refusals(400, 422, 429, 503),
    openapi_extra={
        "parameters": [
            query("deviceType", DeviceType, "Without it: one series for each device type.", example="iOS"),
            query("interval", Interval, "The width of a bucket.", example="hour"),
            query(
                "from",
                datetime,
                f"RFC 3339 with a zone. Default: {DEFAULTS}.",
            ),
            query("to", datetime, "RFC 3339 with a zone; not included. Default: now."),
            query("timezone", str, "An IANA zone; days of 23 and 25 hours are right.", example="Europe/Berlin"),
        ]
    },
)
async def timeseries(request: Request) -> Response:
    """Buckets follow `occurredAt`, are aligned outwards to the interval, and empty ones read 0.

    A series has at most 10,000 points: a longer range is refused, never cut. Minutes reach back 35 days.
    """
    device_type = _device_type(request)
    asked = read_range(request.query_params, clock.now())
    device_types = tuple(DeviceType) if device_type is None else (device_type,)
    reader: StatisticsReader = request.state.reader
    counts = await reader.series.get(SeriesKey(DEFAULT_PROJECT_ID, device_types, asked))
    starts = [edge.astimezone(asked.zone) for edge in asked.edges]
    answer = TimeSeries(
        interval=asked.interval,
        timezone=asked.zone.key,
        **{"from": starts[0]},
        to=starts[-1],
        series=[
            Series(
                device_type=each,
                points=[Point(start=start, count=count) for start, count in zip(starts, counts[each], strict=False)],
            )
            for each in device_types
        ],
    )
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")


def _device_type(request: Request) -> DeviceType | None:
    name = request.query_params.get("deviceType")
    if name is None:
        return None
    try:
        return DeviceType(name)
    except ValueError:
        raise BadRequest(invalid_device_type(name)) from None
