"""The documented private route of family 1: it records one event for a client that does not use statistics-api."""

from fastapi import APIRouter, Request, Response
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent, Registered, unknown_device_type
from contract.delivery import Forward, IdempotencyKey, OutcomeStatus, validate_occurred_at
from contract.projects import DEFAULT_PROJECT_ID
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.router import read_deadline, writer_of
from servicekit.errors import IdempotencyKeyReused, Invalid
from servicekit.http import deadline
from servicekit.http.bodies import KEY_HEADER, fingerprint, read_idempotency_key, read_json, validated
from servicekit.http.error_responses import json_response
from servicekit.http.openapi import json_body, refusals
from servicekit.process import clock

router = APIRouter(tags=["auth events"])


@router.post(
    "/Device/register",
    response_model=Registered,
    summary="Record one event",
    responses=refusals(400, 401, 409, 413, 422, 503),
    openapi_extra=json_body(AuthEvent, headers=(KEY_HEADER, deadline.HEADER)),
)
async def register(request: Request) -> Response:
    """The response is sent after COMMIT. Each repeat of an event is recorded as a new event unless it has a key."""
    ends = read_deadline(request)
    key = read_idempotency_key(request)
    event = validated(AuthEvent, await read_json(request), "body", bad_value=unknown_device_type)
    response, _ = await writer_of(request, AUTH_EVENTS).record(_envelope(event, key), ends)
    replayed = False
    for outcome in response.exceptions:
        if outcome.status is OutcomeStatus.CONFLICT:
            raise IdempotencyKeyReused(outcome.detail)
        if outcome.status is OutcomeStatus.REFUSED:
            raise Invalid.single(outcome.detail)
        replayed = outcome.status is OutcomeStatus.REPLAYED
    return json_response(
        Registered().model_dump(by_alias=True), headers={"Idempotent-Replayed": "true"} if replayed else {}
    )


def _envelope(event: AuthEvent, header_key: str | None) -> Forward[AuthEventColumns]:
    """Return a forward of one event, with a new id and the time of its receipt.

    Raises:
        Invalid: the event happened too long ago or in the future, or its two keys differ.
    """
    received_at = clock.now()
    if event.occurred_at is not None:
        try:
            validate_occurred_at(event.occurred_at, received_at)
        except ValueError as error:
            raise Invalid.single(str(error), "body", "occurredAt") from None
    try:
        key = event.key_beside(header_key)
    except ValueError as error:
        raise Invalid.single(str(error), "body", "eventId") from None
    # Constructed without validation, because each part was validated before.
    return AUTH_EVENTS.forward_model.model_construct(
        project_ids=[DEFAULT_PROJECT_ID],
        event_ids=[str(uuid7())],
        received_at=[received_at],
        columns=AuthEventColumns.model_construct(user_keys=[event.user_key], device_types=[event.device_type]),
        occurred_at={} if event.occurred_at is None else {0: event.occurred_at},
        keys={} if key is None else {0: IdempotencyKey(key=key, fingerprint=fingerprint(event.idempotency_fields()))},
        request_ids=[],
    )
