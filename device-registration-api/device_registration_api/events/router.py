"""The routes that statistics-api calls, the same for every kind of event."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json

from contract.delivery import LINES_TYPE, AcceptedNotCounted, Columns, ForwardedBatchResponse, ForwardResponse
from device_registration_api.events.table import EventTable
from device_registration_api.events.writer import EventWriter
from device_registration_api.service_token import ServiceToken
from servicekit.http import deadline
from servicekit.http.bodies import read_bytes
from servicekit.http.error_responses import invalid
from servicekit.http.openapi import json_body, refusals
from servicekit.middleware.body_limits import BATCH_BYTES_MAX
from servicekit.middleware.fast_path import hot

# The time limit of any request, in seconds; a caller's deadline can only shorten it.
SECONDS_MAX = 10.0
# The limit must hold the largest batch that a client may send, and what the public service adds: for each of 10,000
# events its ids, a time and a fingerprint (330 bytes, less in a batch), or for each rejected item the reason (it
# repeats the value, escaped twice: 2.75 times its length).
FORWARD_BYTES_MAX = 4 * BATCH_BYTES_MAX

_IN_THE_INBOX: dict[int | str, dict[str, Any]] = {
    202: {"model": AcceptedNotCounted, "description": "The batch is `deferrable`, and is in the inbox"}
}
_WITH_ROWS: dict[int | str, dict[str, Any]] = {200: {"content": {LINES_TYPE: {"schema": {"type": "string"}}}}}

Model = TypeVar("Model", bound=BaseModel)


def large_bodies(kind: str) -> dict[str, int]:
    """The body limits of a kind's routes."""
    return {f"/events/{kind}/forward": FORWARD_BYTES_MAX, f"/events/{kind}/batch": FORWARD_BYTES_MAX}


def event_routes(table: EventTable[Columns], service_token: ServiceToken) -> APIRouter:
    """Return the routes of one kind. They find its writer under `writers` in the application's state."""
    router = APIRouter(tags=[table.kind], prefix=f"/events/{table.kind}", dependencies=[Depends(service_token)])

    @router.post(
        "/forward",
        response_model=ForwardResponse,
        summary="Record the events of many clients that share one request",
        response_description="Of a kind that returns stored rows: lines, this one first, then a row for each event",
        responses=refusals(401, 413, 422, 503, as_problem=True) | ({} if table.read is None else _WITH_ROWS),
        openapi_extra=json_body(table.forward_model, headers=(deadline.HEADER,)),
    )
    @hot
    async def record_forward(request: Request) -> Response:
        """Each event gets an outcome of its own; a refused event does not affect the others. A 503 means that no event
        is stored (`not-recorded`), or that the outcome of all is unknown (`outcome-unknown`).
        """
        await service_token(request)  # the fast path runs no dependencies
        ends = read_deadline(request)
        forward = read_envelope(table.forward_model, await read_bytes(request))
        request.scope["log_fields"].update(events=len(forward.event_ids), request_ids=forward.request_ids)
        response, rows = await writer_of(request, table).record(forward, ends)
        if rows:
            return Response(b"\n".join([to_json(response), *rows]), media_type=LINES_TYPE)
        return Response(to_json(response), media_type="application/json")

    @router.post(
        "/batch",
        response_model=ForwardedBatchResponse,
        summary="Record one client's batch in one transaction",
        responses=refusals(401, 409, 413, 422, 503, as_problem=True) | _IN_THE_INBOX,
        openapi_extra=json_body(table.batch_model, headers=(deadline.HEADER,)),
    )
    @hot
    async def record_batch(request: Request) -> Response:
        """The batch is recorded as a whole or not at all; a repeat under its own key gets the stored response."""
        await service_token(request)
        ends = read_deadline(request)
        batch = read_envelope(table.batch_model, await read_bytes(request))
        request.scope["log_fields"].update(events=len(batch.columns))
        response = await writer_of(request, table).record_batch(batch, ends, request.scope["request_id"])
        status = 202 if isinstance(response, AcceptedNotCounted) else 200
        return Response(response.model_dump_json(by_alias=True), status, media_type="application/json")

    return router


def writer_of(request: Request, table: EventTable[Columns]) -> EventWriter[Columns]:
    """Return the writer of a kind, which the application's lifespan made."""
    writers: Mapping[str, EventWriter[Any]] = request.state.writers
    return writers[table.kind]


def read_deadline(request: Request) -> float:
    """Return the time at which the caller stops waiting.

    Raises:
        Invalid: the header is not a number of seconds.
    """
    return deadline.from_header(request.headers.get(deadline.HEADER), seconds_max=SECONDS_MAX)


def read_envelope(model: type[Model], body: bytes, *, strict: bool | None = True) -> Model:
    """Parse an envelope with pydantic's own, faster parser: statistics-api has parsed the client's JSON strictly.

    A model that parses its times itself, as a client's, is strict by its fields alone: `strict` is None.

    Raises:
        Invalid: the body does not fit the model.
    """
    try:
        return model.model_validate_json(body, strict=strict)  # a boolean is no number
    except ValidationError as error:
        raise invalid(error, "body") from None
