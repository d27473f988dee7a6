"""A client's batch: an array or lines, each item accepted or rejected on its own."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from uuid_utils import uuid7

from contract.auth_events import BATCH_ITEMS_MAX, DEFAULT_PROJECT_ID, AuthEventItem, BatchResult, check_window
from contract.registrations import BatchForward, Identity
from servicekit.bodies import BadValue, body_sha256, read_bytes, read_idempotency_key
from servicekit.errors import Invalid
from servicekit.strict_json import MalformedJson, parse
from statistics_api.auth_events.accepting import read_event

NDJSON = "application/x-ndjson"
_ITEMS = TypeAdapter(list[AuthEventItem])
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
    # Constructed, not validated again: each part of it was.
    batch = BatchForward.model_construct(
        project_id=DEFAULT_PROJECT_ID,
        batch_id=str(uuid7()),
        received_at=received_at,
        identity=None if key is None else Identity(key=key, body_sha256=_digest(items)),
        indexes=[],
        event_ids=[],
        user_keys=[],
        device_types=[],
        occurred_at={},
        identities={},
        rejected=[],
    )
    for index, event in enumerate(_events(items)):
        if isinstance(event, AuthEventItem):
            _add(batch, index, event)
        else:
            batch.rejected.append(BatchResult(index=index, status="rejected", detail=str(event)))
    return batch


def _events(items: list[Any]) -> Iterable[AuthEventItem | Invalid | BadValue]:
    """Each item as an event or as the reason why it is none."""
    try:
        return _ITEMS.validate_python(items)  # all at once is twice as fast, and all are right as a rule
    except ValidationError:
        return map(_event, items)


def _event(item: Any) -> AuthEventItem | Invalid | BadValue:  # noqa: ANN401 - any JSON value
    if isinstance(item, MalformedJson):
        return item
    try:
        return read_event(AuthEventItem, item)
    except (Invalid, BadValue) as refusal:
        return refusal


def _add(batch: BatchForward, index: int, event: AuthEventItem) -> None:
    row = len(batch.indexes)
    if event.occurred_at is not None:
        try:
            check_window(event.occurred_at, batch.received_at)
        except ValueError as error:
            batch.rejected.append(BatchResult(index=index, status="rejected", detail=f"occurredAt: {error}"))
            return
        batch.occurred_at[row] = event.occurred_at
    if event.event_id is not None:
        batch.identities[row] = Identity(key=event.event_id, body_sha256=body_sha256(event.said()))
    batch.indexes.append(index)
    batch.event_ids.append(str(uuid7()))
    batch.user_keys.append(event.user_key)
    batch.device_types.append(event.device_type)


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
