"""The common work of all routes that record events, and the common parts of their documentation."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Request, Response
from pydantic import Field

from contract.delivery import BATCH_ITEMS_MAX
from servicekit.http.bodies import KEY_HEADER, read_bytes, read_idempotency_key
from servicekit.http.headers import header, headers
from servicekit.http.openapi import json_body
from servicekit.process import clock
from statistics_api.delivery.accepting import accept
from statistics_api.delivery.batches import NDJSON, NDJSON_TYPES, read_batch
from statistics_api.delivery.deferral import ACCEPTED_RESPONSES, PREFER_HEADER, accepted_response, is_deferrable
from statistics_api.delivery.dropped import DROPPED_PARAMETER, read_dropped
from statistics_api.delivery.gateway import EventGateway
from statistics_api.delivery.kinds import EventKind, EventModel, replayed_headers

REPLAYED_HEADER = {
    "Idempotent-Replayed": {"description": "`true` if it was recorded before.", "schema": {"type": "string"}}
}


async def record_event(request: Request, kind: EventKind[EventModel], project_id: int) -> Response:
    """Record the event in the body: accept, forward, respond."""
    request_id = request.scope["request_id"]
    key = read_idempotency_key(request)
    event = accept(
        kind,
        await read_bytes(request),
        key,
        project_id=project_id,
        request_id=request_id,
        is_deferrable=is_deferrable(headers(request.scope, b"prefer")),
    )
    # `forward` returns after the private service has committed, so a 200 means that the event is durable.
    recorded = await gateway_of(request, kind).forward(event)
    return kind.respond(recorded) if recorded.is_counted else accepted_response()


async def record_batch(request: Request, kind: EventKind[EventModel], project_id: int) -> Response:
    """Record the batch in the body: each item is recorded or rejected."""
    key = read_idempotency_key(request)
    dropped = read_dropped(request)
    batch = await read_batch(
        kind,
        await read_bytes(request),
        key,
        content_type=header(request.scope, b"content-type") or "",
        project_id=project_id,
        received_at=clock.now(),
    )
    batch.dropped = dropped
    # Of a batch whose items are all rejected, nothing would be counted later.
    batch.is_deferrable = batch.next_position > 0 and is_deferrable(headers(request.scope, b"prefer"))
    recorded = await gateway_of(request, kind).forward_batch(batch, request.scope["request_id"])
    if not recorded.is_counted:
        return accepted_response(batch.rejected)
    added = replayed_headers() if recorded.is_replay else None
    return Response(recorded.response, headers=added, media_type="application/json")


def gateway_of(request: Request, kind: EventKind[EventModel]) -> EventGateway[EventModel]:
    """The gateway of a kind in this process."""
    gateways: Mapping[str, EventGateway[EventModel]] = request.state.gateways
    return gateways[kind.name]


def event_body(kind: EventKind[EventModel]) -> dict[str, Any]:
    """The `openapi_extra` of a route that records one event."""
    return json_body(kind.event, headers=(KEY_HEADER, PREFER_HEADER)) | {"responses": ACCEPTED_RESPONSES}


def batch_body(kind: EventKind[EventModel], example: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    """The `openapi_extra` of a route that records a batch."""
    others = [each for each in NDJSON_TYPES if each != NDJSON]
    lines = {
        "schema": {
            "type": "string",
            "description": f"One event per line; blank lines are skipped. {', '.join(others)} mean the same.",
            "examples": ["\n".join(map(json.dumps, example))],
        }
    }
    body = json_body(
        Annotated[list[kind.event], Field(max_length=BATCH_ITEMS_MAX, examples=[example])],  # type: ignore[name-defined] # the type is a value here
        headers=(KEY_HEADER, PREFER_HEADER),
        extra_content={NDJSON: lines},
    )
    return body | {"parameters": [*body["parameters"], DROPPED_PARAMETER], "responses": ACCEPTED_RESPONSES}
