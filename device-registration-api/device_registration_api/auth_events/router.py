"""The private routes of family 1."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError
from uuid_utils import uuid7

from contract.auth_events.events import AuthEvent, Registered, unknown_device_type
from contract.projects import DEFAULT_PROJECT_ID
from contract.registrations import (
    CoalescedOutcomes,
    CoalescedRegistrations,
    ForwardedBatch,
    ForwardedBatchResponse,
    IdempotencyKey,
    IndexedOutcome,
    Outcome,
    OutcomeStatus,
    Registration,
)
from device_registration_api.auth_events.group_commit import GroupCommit
from servicekit.errors import DomainError, IdempotencyKeyReused, Invalid, OutcomeUnknown
from servicekit.http import deadline
from servicekit.http.bodies import (
    KEY_HEADER,
    body_sha256,
    read_bytes,
    read_idempotency_key,
    read_json,
    validated,
)
from servicekit.http.error_responses import invalid, json_response
from servicekit.http.openapi import json_body, refusals
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.process import clock

# The longest that any work is worth, in seconds, whatever deadline a caller names.
SECONDS_MAX = 10.0
# What the edge adds to each of 10,000 events (ids, a time, a digest: 330 bytes, less to those of a batch) or says of
# each that it rejected (the value, escaped twice: 2.75 times its length) must fit beside the largest batch that a
# client may send.
FORWARD_BYTES_MAX = 4 * BATCH_BYTES_MAX
LARGE_BODIES = {"/Device/register/coalesced": FORWARD_BYTES_MAX, "/Device/register/batch": FORWARD_BYTES_MAX}

Model = TypeVar("Model", bound=BaseModel)

router = APIRouter(tags=["auth events"])


@router.post(
    "/Device/register",
    response_model=Registered,
    summary="Record one event",
    responses=refusals(400, 401, 409, 413, 422, 503),
    openapi_extra=json_body(AuthEvent, headers=(KEY_HEADER, deadline.HEADER)),
)
async def register(request: Request) -> Response:
    """Answers after COMMIT. The same event any number of times is that many events, unless it has a key."""
    ends = _deadline(request)
    key = read_idempotency_key(request)
    event = validated(AuthEvent, await read_json(request), "body", bad_value=unknown_device_type)
    sent = {"user_key": event.user_key, "device_type": event.device_type, "occurredAt": event.occurred_at}
    added = {
        "project_id": DEFAULT_PROJECT_ID,
        "event_id": str(uuid7()),
        "received_at": clock.now(),
        "identity": None
        if key is None
        else IdempotencyKey(key=key, body_sha256=body_sha256(event.idempotency_fields())),
    }
    registration = validated(Registration, sent | added, "body")
    outcome = await _group_commit(request).coalescer.submit(registration, ends)
    if outcome.status is OutcomeStatus.CONFLICT:
        raise IdempotencyKeyReused(outcome.detail)
    if outcome.status is OutcomeStatus.REFUSED:
        raise Invalid.single(outcome.detail)
    headers = {"Idempotent-Replayed": "true"} if outcome.status is OutcomeStatus.REPLAYED else {}
    return json_response(Registered().model_dump(by_alias=True), headers=headers)


@router.post(
    "/Device/register/coalesced",
    response_model=CoalescedOutcomes,
    summary="Record the events of many clients that share one request",
    responses=refusals(401, 413, 422, 503),
    openapi_extra=json_body(CoalescedRegistrations, headers=(deadline.HEADER,)),
)
async def register_coalesced(request: Request) -> Response:
    """Each registration gets an outcome of its own; one that fails does not harm its neighbours."""
    ends = _deadline(request)
    forward = _read(CoalescedRegistrations, await read_bytes(request))
    request.scope["log_fields"].update(events=len(forward.registrations), request_ids=forward.request_ids)
    outcomes = await _group_commit(request).coalescer.submit_all(forward.registrations, ends)
    others = [
        _indexed(index, outcome)
        for index, outcome in enumerate(outcomes)
        if isinstance(outcome, DomainError) or outcome.status is not OutcomeStatus.REGISTERED
    ]
    answer = CoalescedOutcomes(registered=len(outcomes) - len(others), others=others)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post(
    "/Device/register/batch",
    response_model=ForwardedBatchResponse,
    summary="Record one client's batch in one transaction",
    responses=refusals(401, 409, 413, 422, 503),
    openapi_extra=json_body(ForwardedBatch, headers=(deadline.HEADER,)),
)
async def register_batch(request: Request) -> Response:
    """All of it or nothing; a repeat under the batch's own key gets the stored answer."""
    ends = _deadline(request)
    batch = _read(ForwardedBatch, await read_bytes(request))
    request.scope["log_fields"].update(events=len(batch.user_keys))
    reply = await _group_commit(request).register_batch(batch, ends)
    return Response(reply.model_dump_json(by_alias=True), media_type="application/json")


def _group_commit(request: Request) -> GroupCommit:
    writer: GroupCommit = request.state.group_commit
    return writer


def _deadline(request: Request) -> float:
    return deadline.from_header(request.headers.get(deadline.HEADER), seconds_max=SECONDS_MAX)


def _read(model: type[Model], body: bytes) -> Model:
    """What statistics-api sends: it was strict already, so this is pydantic's own, faster parser."""
    try:
        return model.model_validate_json(body, strict=True)  # a boolean is no number
    except ValidationError as error:
        raise invalid(error, "body") from None


def _indexed(index: int, outcome: Outcome | DomainError) -> IndexedOutcome:
    if isinstance(outcome, Outcome):
        return IndexedOutcome(index=index, status=outcome.status, detail=outcome.detail)
    unknown = isinstance(outcome, OutcomeUnknown)
    status = OutcomeStatus.OUTCOME_UNKNOWN if unknown else OutcomeStatus.NOT_RECORDED
    return IndexedOutcome(index=index, status=status, detail=str(outcome))
