"""A client's batch: an array or lines, each item accepted or rejected on its own."""

from collections.abc import Iterable
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from uuid_utils import uuid7

from contract.auth_events.events import AuthEvent, DeviceType
from contract.delivery import BATCH_ITEMS_MAX, BatchResult, validate_occurred_at
from contract.projects import DEFAULT_PROJECT_ID
from contract.registrations import ForwardedBatch, IdempotencyKey
from contract.text import all_stripped, all_valid
from servicekit.errors import BadRequest, Invalid
from servicekit.http.bodies import body_sha256, read_bytes, read_idempotency_key
from servicekit.http.strict_json import MalformedJson, decode
from statistics_api.auth_events.accepting import read_event

NDJSON = "application/x-ndjson"
_ITEMS = TypeAdapter(list[AuthEvent])
_NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl")
_user_key = itemgetter("userKey")
_device_type_name = itemgetter("deviceType")
_device_type = {str(device_type): device_type for device_type in DeviceType}.__getitem__


class Columns(NamedTuple):
    """What every event has, one entry an event."""

    user_keys: list[str]
    device_types: list[DeviceType]


async def read_batch(request: Request, received_at: datetime) -> ForwardedBatch:
    """The batch, validated item by item.

    Raises:
        Invalid: the body as a whole is not a batch.
    """
    key = read_idempotency_key(request)
    body = await read_bytes(request)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    items, plain = _parse_ndjson(body) if content_type in _NDJSON_TYPES else _parse_array(body)
    if len(items) > BATCH_ITEMS_MAX:
        raise Invalid.single(f"at most {BATCH_ITEMS_MAX} items make a batch, not {len(items)}")
    # Constructed, not validated again: each part of it was.
    batch = ForwardedBatch.model_construct(
        project_id=DEFAULT_PROJECT_ID,
        batch_id=str(uuid7()),
        received_at=received_at,
        identity=None if key is None else IdempotencyKey(key=key, body_sha256=_digest(items)),
        user_keys=[] if plain is None else plain.user_keys,
        device_types=[] if plain is None else plain.device_types,
        occurred_at={},
        identities={},
        rejected=[],
    )
    if plain is None:
        _parse_items(batch, items)
    return batch


def parse_columns(items: list[Any]) -> Columns | None:
    """The batch in columns, if each item is a valid event of a user key and a device type and nothing else.

    Most batches are, and are read many times faster so than item by item: in passes that run no Python code for an
    item. The rules are AuthEvent's; whatever it might see in another way (white space to strip, a field more) is
    left to it.
    """
    if not items:
        return Columns([], [])
    try:
        user_keys = list(map(_user_key, items))
        device_types = list(map(_device_type, map(_device_type_name, items)))
        right = set(map(len, items)) == {2} and all_stripped(user_keys) and all_valid(user_keys)
    except (KeyError, TypeError):  # a field is missing, a device type unknown; no object, no string
        return None
    return Columns(user_keys, device_types) if right else None


def _parse_items(batch: ForwardedBatch, items: list[Any]) -> None:
    for index, event in enumerate(_events(items)):
        if isinstance(event, AuthEvent):
            _add(batch, index, event)
        else:
            batch.rejected.append(BatchResult(index=index, status="rejected", detail=str(event)))


def _events(items: list[Any]) -> Iterable[AuthEvent | Invalid | BadRequest]:
    """Each item as an event or as the reason why it is none."""
    try:
        # All at once is twice as fast, and all are right as a rule. By the wire's names only, as in `validated`.
        return _ITEMS.validate_python(items, by_alias=True, by_name=False)
    except ValidationError:
        return map(_event, items)


def _event(item: Any) -> AuthEvent | Invalid | BadRequest:  # noqa: ANN401 - any JSON value
    if isinstance(item, MalformedJson):
        return item
    try:
        return read_event(AuthEvent, item)
    except (Invalid, BadRequest) as refusal:
        return refusal


def _add(batch: ForwardedBatch, index: int, event: AuthEvent) -> None:
    row = len(batch.user_keys)
    if event.occurred_at is not None:
        try:
            validate_occurred_at(event.occurred_at, batch.received_at)
        except ValueError as error:
            batch.rejected.append(BatchResult(index=index, status="rejected", detail=f"occurredAt: {error}"))
            return
        batch.occurred_at[row] = event.occurred_at
    if event.event_id is not None:
        batch.identities[row] = IdempotencyKey(key=event.event_id, body_sha256=body_sha256(event.idempotency_fields()))
    batch.user_keys.append(event.user_key)
    batch.device_types.append(event.device_type)


def _parse_array(body: bytes) -> tuple[list[Any], Columns | None]:
    items = decode(body)
    plain = parse_columns(items) if isinstance(items, list) else None
    if not isinstance(items, list):
        raise Invalid.single(f"a JSON array was expected; for one event a line, send Content-Type: {NDJSON}")
    return items, plain


def _parse_ndjson(body: bytes) -> tuple[list[Any], Columns | None]:
    """One value a line that is not blank; a line that is not JSON is rejected alone."""
    items: list[Any] = []
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            items.append(decode(line))
        except MalformedJson as error:
            items.append(error)
    return items, parse_columns(items)


def _digest(items: list[Any]) -> str:
    return body_sha256([str(item) if isinstance(item, MalformedJson) else item for item in items])
