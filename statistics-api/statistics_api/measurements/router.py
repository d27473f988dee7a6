"""The public routes of measurements: they are recorded with a key of the project, and read by it."""

import asyncio
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from contract.access import Scope
from contract.delivery import BatchResponse
from contract.measurements.analysis import Analysis, PeriodDraft, Series, UserAnalysis
from contract.measurements.events import StoredMeasurement
from contract.people import IMPORTED_ID_DIGITS_MAX, PersonId
from servicekit.errors import NotConfigured, NotFound
from servicekit.http.bodies import read_bytes, validated
from servicekit.http.openapi import Schema, json_body, refusals
from servicekit.http.strict_json import decode
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from servicekit.process import clock
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import VARY, required_key, shown
from statistics_api.administration.client import call
from statistics_api.cursors import LINK_HEADER
from statistics_api.delivery.endpoints import REPLAYED_HEADER, batch_body, event_body, record_batch, record_event
from statistics_api.devices.documentation import at_device
from statistics_api.devices.known_devices import known_devices
from statistics_api.measurements import answers
from statistics_api.measurements.direct import REFUSALS, DirectMeasurements
from statistics_api.measurements.kind import MEASUREMENTS, of_device
from statistics_api.measurements.pages import ROWS_PARAMETERS, rows_page
from statistics_api.measurements.periods import Period
from statistics_api.measurements.queries import Chosen
from statistics_api.measurements.reader import MeasurementReader
from statistics_api.time_series.formats import CSV_RESPONSE, FORMAT_PARAMETER, wants_csv
from statistics_api.time_series.ranges import RangeParameters

DEVICE = "/devices/{device_id}"
LARGE_BODIES = {f"/api/v1/stats{DEVICE}/batch": BATCH_BYTES_MAX}
DIRECT_ROUTES = (DirectMeasurements(),)
NOTHING_FOUND = "No statistics found for the specified period"
_BATCH: list[dict[str, object]] = [
    {"x": 0.25, "y": -1.5, "z": 9.81},
    {"x": 0.5, "y": -1.25, "z": 9.8, "eventId": "reading-1"},
]
_RECORDING = refusals(401, 403, 404, 408, 409, 410, 413, 415, 422, 429, 503, as_problem=True)
_READING = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_ANALYSING = refusals(401, 403, 404, 408, 413, 422, 429, 503, as_problem=True)
_USER_ID: Schema = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "The `id` of a user of the project, or the number that the user had in the system they were "
    "imported from.",
}
_IMPORTED_ID = re.compile(rf"[0-9]{{1,{IMPORTED_ID_DIGITS_MAX}}}", re.ASCII)
RANGE = RangeParameters(
    {"hour": timedelta(days=2), "day": timedelta(days=31), "month": timedelta(days=366)}, zone_is_optional=True
)
_REPLAYED: dict[str, Any] = {"headers": REPLAYED_HEADER}
_LINK: dict[int | str, Schema] = {200: {"headers": LINK_HEADER}}

router = APIRouter(prefix="/api/v1/stats", tags=["measurements"])


def period_body() -> dict[str, Any]:
    """Return that of a route whose body is a period, or empty."""
    body = json_body(PeriodDraft)
    body["requestBody"]["required"] = False
    return body


@router.post(
    DEVICE,
    status_code=201,
    response_model=StoredMeasurement,
    summary="Record one measurement of a device",
    response_description="The stored row: this is sent after COMMIT",
    responses=_RECORDING | {201: _REPLAYED},
    openapi_extra=at_device(event_body(MEASUREMENTS)) | required_key(Scope.INGEST),
)
@hot
async def record(request: Request) -> Response:
    """A value is kept as the nearest double. Without `timestamp` it was measured now; a time without a zone is UTC.

    If a repeat must not be counted, send an `Idempotency-Key` header or an `eventId`. Both have the same meaning, and
    must be equal if both are sent. Within 48 hours a repeat gets the same row with `Idempotent-Replayed: true`; the
    same key with other values, or for another device, is a 409. The body has at most 64 KiB.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    device = credential.project_id, request.path_params["device_id"]
    number = await known_devices(request).number(*device)
    try:
        return await record_event(request, of_device(number), credential.project_id)
    except REFUSALS as error:
        raise await known_devices(request).refusal(*device, number, error) from None


@router.post(
    f"{DEVICE}/batch",
    response_model=BatchResponse,
    summary="Record up to 10,000 measurements of a device in one transaction",
    response_description="Every item that was not plainly registered is listed",
    responses=_RECORDING | {200: _REPLAYED},
    openapi_extra=at_device(batch_body(MEASUREMENTS, _BATCH)) | required_key(Scope.INGEST),
)
async def record_many(request: Request) -> Response:
    """The body is a JSON array, or one JSON object per line (NDJSON); the content type says which. It has at most
    10,000 items and 4 MiB.

    A refused item does not affect the others; it is listed with its index and the reason. An item with an `eventId` is
    counted once, even if it is sent again in another batch or alone. With an `Idempotency-Key`, a repeat of the whole
    batch gets the first response; that key is not the key of any item.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    number = await known_devices(request).number(credential.project_id, request.path_params["device_id"])
    return await record_batch(request, of_device(number), credential.project_id)


@router.get(
    DEVICE,
    response_model=list[StoredMeasurement],
    summary="The measurements of a device, the newest first",
    responses=_READING | _LINK,
    openapi_extra=at_device({"parameters": ROWS_PARAMETERS}) | required_key(Scope.READ),
)
async def read_rows(request: Request) -> Response:
    """By the time of the measurement, not of its arrival. Both ends are included; without them, all.

    `Link: rel="next"` leads to the next page, and to no row twice, even while more are recorded.
    """
    chosen = await chosen_device(request)
    page = rows_page(request.query_params)
    # One row more than the page has: then there is a next page.
    found = await _reader(request).rows(chosen, page.period, page.before, limit=page.limit + 1, skip=page.skip)
    shown = found[: page.limit]
    headers = dict(VARY)
    if len(found) > len(shown):
        headers["Link"] = page.link(request.path_params["device_id"], shown, request.query_params)
    names = tuple(StoredMeasurement.model_fields)
    body = to_json([dict(zip(names, each.values, strict=True)) for each in shown])
    return Response(body, headers=headers, media_type="application/json")


@router.post(
    f"{DEVICE}/analyze",
    response_model=Analysis,
    response_model_exclude_unset=True,
    summary="Extremes, sums and medians of a period of a device",
    responses=_ANALYSING,
    openapi_extra=at_device(period_body()) | shown(required_key(Scope.READ)),
)
async def analyze(request: Request) -> Response:
    """Both ends are included; without a body, all measurements. An end in the future is fine.

    The figures are exact: sums and medians are those of the decimal values, rounded once, and do not depend on the
    order in which measurements arrived. At most two analyses of more than 50,000 measurements of a project run at the
    same time in a process; a further one is a 503 with `Retry-After`.

    Where retention has deleted rows of the period, the first and the last quarter of an hour may count as a whole, and
    `median` is null; `raw_since` says since when all rows are kept.
    """
    chosen = await chosen_device(request)
    asked = await read_period(request)
    analysed = await _reader(request).analysis(chosen, Period.inclusive(asked.start_time, asked.end_time))
    if not analysed.groups:
        raise NotFound(NOTHING_FOUND)
    group = analysed.groups[0]
    body = to_json(answers.analysis(group, asked, analysed.raw_since(group)))
    return Response(body, headers=VARY, media_type="application/json")


@router.post(
    "/users/{user_id}/analyze",
    response_model=UserAnalysis,
    response_model_exclude_unset=True,
    summary="The same for all devices of a user, together and by device",
    responses=_ANALYSING,
    openapi_extra=period_body() | {"parameters": [_USER_ID]} | required_key(Scope.READ),
)
async def analyze_user(request: Request) -> Response:
    """A device without measurements in the period is left out; a user without any is a 404. Medians of
    `aggregate_stats` are those of all measurements, and no means of medians.
    """
    credential = await required_credential_of(request, Scope.READ)
    asked = await read_period(request)
    user_id = await _user_id(request, credential.project_id)
    chosen = Chosen(credential.project_id, None, str(user_id))
    analysed = await _reader(request).analysis(chosen, Period.inclusive(asked.start_time, asked.end_time))
    if not analysed.groups:
        raise NotFound(NOTHING_FOUND)
    body = to_json(answers.user_analysis(user_id, analysed, asked))
    return Response(body, headers=VARY, media_type="application/json")


async def _user_id(request: Request, project_id: int) -> UUID:
    """Return the id of the user in the path: a UUID, or the number that an imported user had. Raises NotFound."""
    text: str = request.path_params["user_id"]
    with suppress(ValueError):
        return UUID(text)
    try:
        if _IMPORTED_ID.fullmatch(text):
            answer = await call(request, "GET", "people", str(project_id), text)
            return PersonId.model_validate_json(answer.content).id
    except (NotConfigured, NotFound):
        # Without personal data, nobody was imported.
        pass
    raise NotFound(NOTHING_FOUND)


@router.get(
    f"{DEVICE}/series",
    response_model=Series,
    summary="Extremes, means and sums of each hour, day or month of a device",
    responses=refusals(400, as_problem=True) | _READING | CSV_RESPONSE,
    openapi_extra=at_device({"parameters": [*RANGE.documented(), FORMAT_PARAMETER]}) | shown(required_key(Scope.READ)),
)
async def series(request: Request) -> Response:
    """By the time of the measurement, so one that arrives late changes its own bucket. The range is extended to whole
    buckets; a bucket without measurements has null figures and a count of 0. The figures outlive the rows.

    A series has at most 10,000 points: a longer range is refused and never cut.
    """
    chosen = await chosen_device(request)
    # In a thread: 10,000 points take 15 ms.
    asked = await asyncio.to_thread(RANGE.read, request.query_params, clock.now())
    found = await _reader(request).series(chosen, asked.edges)
    return await asyncio.to_thread(answers.series, asked, found, as_csv=wants_csv(request))


async def chosen_device(request: Request) -> Chosen:
    """Return the device that the path of a question names, in the project of the credential.

    Raises:
        NotFound: the project has no such device.
        NotAuthenticated, Forbidden, NotRecorded: as `required_credential_of`.
    """
    credential = await required_credential_of(request, Scope.READ)
    number = await known_devices(request).number(credential.project_id, request.path_params["device_id"])
    return Chosen(credential.project_id, number)


async def read_period(request: Request) -> PeriodDraft:
    """Return the period in the body of a request, which may be empty. Raises Invalid."""
    body = await read_bytes(request)
    return validated(PeriodDraft, decode(body) if body.strip() else {}, "body")


def _reader(request: Request) -> MeasurementReader:
    reader: MeasurementReader = request.state.readers[MEASUREMENTS.name]
    return reader
