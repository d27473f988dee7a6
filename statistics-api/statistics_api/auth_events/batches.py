"""A client's batch: an array or lines, each item accepted or rejected on its own."""

from datetime import datetime
from typing import Any

from contract.auth_events import (
    BATCH_ITEMS_MAX,
    DEFAULT_PROJECT_ID,
    AuthEventItem,
    BatchForward,
    BatchResult,
    Identity,
    Registration,
)
from fastapi import Request
from servicekit.bodies import BadValue, body_sha256, read_bytes, read_idempotency_key
from servicekit.errors import Invalid
from servicekit.strict_json import MalformedJson, parse
from uuid_utils import uuid7

from statistics_api.auth_events.accepting import accept, read_event

NDJSON = "application/x-ndjson"
_NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl")


async def read_batch(request: Request, received_at: datetime) -> BatchForward:
    """The batch, validated item by item.

    Raises:
        Invalid: the body as a whole is not a batch.
    """
    key = read_idempotency_key(request)
    body = await read_bytes(request)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    items = _lines(body) if content_type in _NDJSON_TYPES else _array(body)
    if len(items) > BATCH_ITEMS_MAX:
        raise Invalid.because(f"at most {BATCH_ITEMS_MAX} items make a batch, not {len(items)}")
    indexes: list[int] = []
    registrations: list[Registration] = []
    rejected: list[BatchResult] = []
    for index, item in enumerate(items):
        try:
            if isinstance(item, MalformedJson):
                raise item
            event = read_event(AuthEventItem, item)
            registrations.append(accept(event, event.event_id, received_at))
        except (Invalid, BadValue) as refusal:
            rejected.append(BatchResult(index=index, status="rejected", detail=str(refusal)))
        else:
            indexes.append(index)
    # Constructed, not validated again: each part of it is a model already.
    return BatchForward.model_construct(
        project_id=DEFAULT_PROJECT_ID,
        batch_id=str(uuid7()),
        received_at=received_at,
        identity=None if key is None else Identity(key=key, body_sha256=_digest(items)),
        indexes=indexes,
        registrations=registrations,
        rejected=rejected,
    )


def _array(body: bytes) -> list[Any]:
    items = parse(body)
    if not isinstance(items, list):
        raise Invalid.because(f"a JSON array was expected; for one event a line, send Content-Type: {NDJSON}")
    return items


def _lines(body: bytes) -> list[Any]:
    """One value a line that is not blank; a line that is not JSON is rejected alone."""
    items: list[Any] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            items.append(parse(line))
        except MalformedJson as error:
            items.append(error)
    return items


def _digest(items: list[Any]) -> str:
    return body_sha256([str(item) if isinstance(item, MalformedJson) else item for item in items])
