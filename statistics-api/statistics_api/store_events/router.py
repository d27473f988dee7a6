"""The public routes of store events: they are recorded with a credential of the store, and read by it."""

from typing import Any

from fastapi import APIRouter, Request, Response

from contract.access import Scope
from contract.delivery import BatchResponse
from contract.store_events.answers import DayAmount, DayAverage, EventType, StoredEvent
from contract.users import UserNumbers
from servicekit.errors import Invalid
from servicekit.http.openapi import query, refusals
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot
from statistics_api.access.credentials import required_credential_of
from statistics_api.access.documentation import OPERATOR_TOKEN, STORE_ID, required_key, shown
from statistics_api.access.tokens import operator_of
from statistics_api.delivery.direct import DirectRecording
from statistics_api.delivery.endpoints import REPLAYED_HEADER, batch_body, event_body, record_batch, record_event
from statistics_api.pages import PAGE_PARAMETERS, read_page
from statistics_api.polling.askers import with_key
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.repeated_questions import Asked, Minute, answer
from statistics_api.polling.tagged_answers import ETAG_HEADER, IF_NONE_MATCH, NOT_MODIFIED
from statistics_api.store_events.kind import STORE_EVENTS
from statistics_api.store_events.reader import Amounts, Averages, Question, StoreReader, Types, Users
from statistics_api.stores.ids import read_store_id
from statistics_api.time_series.users import RANGE, AskedDays

LARGE_BODIES = {"/api/event/batch": BATCH_BYTES_MAX}
DIRECT_ROUTES = (DirectRecording(STORE_EVENTS, b"/api/event", needs_key=True),)

_USER_ID = "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"
_BATCH = [
    {"type": "purchase", "user_id": _USER_ID, "data": {"order": "A-1007"}},
    {"type": "visit", "user_id": _USER_ID, "data": {}, "eventId": "visit-1"},
]
_RECORDING_REFUSALS = refusals(401, 403, 408, 409, 413, 415, 422, 429, 503, as_problem=True)
_REPLAYED: dict[str, Any] = {"headers": REPLAYED_HEADER}
_READING: dict[int | str, dict[str, Any]] = {
    **refusals(401, 403, 404, 422, 429, 503, as_problem=True),
    200: {"headers": ETAG_HEADER},
    **NOT_MODIFIED,
}
_TYPE = {
    "name": "type",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "example": "purchase",
    "description": "The type of the events; a slash in it is written `%2F`.",
}

router = APIRouter(prefix="/api", tags=["stores"])


@router.post(
    "/event",
    status_code=201,
    response_model=StoredEvent,
    summary="Record one event of a user",
    response_description="The stored event: this is sent after COMMIT",
    responses=_RECORDING_REFUSALS | refusals(404, 410, as_problem=True) | {201: _REPLAYED},
    openapi_extra=event_body(STORE_EVENTS) | required_key(Scope.INGEST),
)
@hot
async def record(request: Request) -> Response:
    """It is recorded in the store of the credential. A user whom the store does not have is a 404. A user who was
    erased is a 410 with the code `gone`, and one of whom nothing more is recorded a 410 with the code `suppressed`.

    `data` has its members in another order, and a number such as `1.0` is the number `1`: that is the same JSON. If a
    repeat must not be counted, send an `Idempotency-Key` header or an `eventId`. Both have the same meaning, and must
    be equal if both are sent. Within 48 hours a repeat gets the same event with `Idempotent-Replayed: true`; the same
    key with other values is a 409. The body has at most 64 KiB.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    return await record_event(request, STORE_EVENTS, credential.project_id)


@router.post(
    "/event/batch",
    response_model=BatchResponse,
    summary="Record up to 10,000 events in one transaction",
    response_description="Every item that was not plainly registered is listed",
    responses=_RECORDING_REFUSALS | {200: _REPLAYED},
    openapi_extra=batch_body(STORE_EVENTS, _BATCH) | required_key(Scope.INGEST),
)
async def record_many(request: Request) -> Response:
    """The body is a JSON array, or one JSON object per line (NDJSON); the content type says which. It has at most
    10,000 items and 4 MiB.

    A refused item does not affect the others; it is listed with its index and the reason. An item with an `eventId` is
    counted once, even if it is sent again in another batch or alone. With an `Idempotency-Key`, a repeat of the whole
    batch gets the first response; that key is not the key of any item.
    """
    credential = await required_credential_of(request, Scope.INGEST)
    return await record_batch(request, STORE_EVENTS, credential.project_id)


@router.get(
    "/event/types",
    response_model=list[EventType],
    summary="Which types of events the store has recorded, in the order of their first event",
    responses=_READING,
    openapi_extra=shown(required_key(Scope.READ)) | {"parameters": [*PAGE_PARAMETERS, IF_NONE_MATCH]},
)
@hot
async def types(request: Request) -> Response:
    """A type stays in the list when its events leave with their retention: its figures stay, too."""
    credential = await required_credential_of(request, Scope.READ)
    minute = Minute.present()
    question = Types(credential.project_id, read_page(request.query_params))
    return await answer(request, _answers(request), Asked(question, credential.project_id, with_key, minute))


@router.get(
    "/event/amount/{type}",
    response_model=list[DayAmount],
    summary="How many events of a type each day had, the newest day first",
    responses=_READING,
    openapi_extra=shown(required_key(Scope.READ)) | {"parameters": [_TYPE, *PAGE_PARAMETERS, IF_NONE_MATCH]},
)
@hot
async def amount(request: Request) -> Response:
    """Only days with an event are listed. A day is the one that it was in the time zone of the store when the event was
    recorded; an event counts at its `occurred_at`. A type that the store never recorded has no day.
    """
    credential = await required_credential_of(request, Scope.READ)
    minute = Minute.present()
    question = Amounts(credential.project_id, request.path_params["type"], read_page(request.query_params))
    return await answer(request, _answers(request), Asked(question, credential.project_id, with_key, minute))


@router.get(
    "/event/avg-time/{type}",
    response_model=list[DayAverage],
    summary="How many events of a type a user of the day had, the newest day first",
    responses=_READING,
    openapi_extra=shown(required_key(Scope.READ)) | {"parameters": [_TYPE, *PAGE_PARAMETERS, IF_NONE_MATCH]},
)
@hot
async def average(request: Request) -> Response:
    """The number of events of the day, divided by the number of different users who had one of that type on that day.
    It is for the same days as the amounts, and does not change when a user is erased.
    """
    credential = await required_credential_of(request, Scope.READ)
    minute = Minute.present()
    question = Averages(credential.project_id, request.path_params["type"], read_page(request.query_params))
    return await answer(request, _answers(request), Asked(question, credential.project_id, with_key, minute))


@router.get(
    "/event/users",
    response_model=UserNumbers,
    summary="How many different users a range of days had",
    responses=_READING,
    openapi_extra=shown(required_key(Scope.READ))
    | {
        "parameters": [
            *RANGE.documented(),
            query("type", str, "Only those with an event of this type. Default: any.", example="purchase"),
            IF_NONE_MATCH,
        ]
    },
)
@hot
async def users(request: Request) -> Response:
    """Exact for any range: each user is counted once. A new user had no event before `from`, of that type if one is
    asked for; the others are returning. The numbers do not change when a user is erased.
    """
    credential = await required_credential_of(request, Scope.READ)
    minute = Minute.present()
    question = Users(credential.project_id, _type(request), AskedDays.of(request, minute.begin))
    return await answer(request, _answers(request), Asked(question, credential.project_id, with_key, minute))


@router.get(
    "/event/store-events-amount/{store_id}",
    response_model=list[DayAmount],
    summary="How many events a store had on each day, the newest day first",
    responses=_READING,
    openapi_extra=OPERATOR_TOKEN | {"parameters": [STORE_ID, *PAGE_PARAMETERS, IF_NONE_MATCH]},
)
async def amount_of_store(request: Request) -> Response:
    """Of all types, for an operator of the installation. A store that does not exist is a 404."""
    await operator_of(request)
    store_id = read_store_id(request.path_params["store_id"])
    question = Amounts(store_id, None, read_page(request.query_params))
    return (await _answers(request).get(question)).respond(request)


def _type(request: Request) -> str | None:
    type_ = request.query_params.get("type")
    if type_ is not None and "\0" in type_:
        raise Invalid.single("must not contain control characters", "query", "type")
    return type_


def _answers(request: Request) -> CurrentAnswers[Question]:
    reader: StoreReader = request.state.readers[STORE_EVENTS.name]
    return reader.answers
