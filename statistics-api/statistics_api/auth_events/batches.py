"""A client's batch: an array or lines, each item accepted or rejected on its own."""

from collections.abc import Iterable
from datetime import UTC, datetime
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
from servicekit.concurrency.time_slice import TimeSlice
from servicekit.errors import BadRequest, Invalid
from servicekit.http.bodies import body_sha256, read_bytes, read_idempotency_key
from servicekit.http.strict_json import decode
from statistics_api.auth_events.accepting import read_event
from statistics_api.delivery.splitting import (
    PIECE_BYTES_MAX,
    Malformed,
    Piece,
    count_lines,
    split_array,
    split_lines,
    values_of,
)

NDJSON = "application/x-ndjson"
_ITEMS = TypeAdapter(list[AuthEvent])
_NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl")
# A validation that fails keeps an error a field until it is told, so not of all items at once.
_ITEMS_AT_ONCE = 250
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
    # Constructed, not validated again: each part of it was.
    batch = ForwardedBatch.model_construct(
        project_id=DEFAULT_PROJECT_ID,
        batch_id=str(uuid7()),
        received_at=received_at,
        identity=None,
        user_keys=[],
        device_types=[],
        occurred_at={},
        identities={},
        rejected=[],
    )
    time_slice = TimeSlice()
    parts = await _split(body, time_slice, is_lines=content_type in _NDJSON_TYPES)
    index = 0
    for part in parts:
        if isinstance(part, Columns):
            batch.user_keys += part.user_keys
            batch.device_types += part.device_types
            index += len(part.user_keys)
        else:
            index = await _parse_items(batch, index, values_of(body, part), time_slice)
        if time_slice.is_over():
            await time_slice.next_turn()
    if key is not None:
        batch.identity = IdempotencyKey(key=key, body_sha256=_fingerprint(batch))
    return batch


async def _split(body: bytes, time_slice: TimeSlice, *, is_lines: bool) -> list[Columns | Piece]:
    """The batch in columns where it is plain; the pieces of the body that have to be read item by item elsewhere.

    Raises:
        Invalid: too many items, or no array.
    """
    if is_lines and count_lines(body, BATCH_ITEMS_MAX) > BATCH_ITEMS_MAX:
        raise Invalid.single(f"at most {BATCH_ITEMS_MAX} items make a batch, and this one has more")
    if not is_lines and not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        if len(body) <= PIECE_BYTES_MAX:
            decode(body)  # says what is wrong, if it is no JSON either
        raise Invalid.single(f"a JSON array was expected; for one event a line, send Content-Type: {NDJSON}")
    parts: list[Columns | Piece] = []
    count = 0
    for step in split_lines(body) if is_lines else split_array(body):
        if step is not None:
            piece, values = step
            count += 1 if values is None else len(values)
            if count > BATCH_ITEMS_MAX:
                raise Invalid.single(f"at most {BATCH_ITEMS_MAX} items make a batch, and this one has more")
            columns = None if values is None else parse_columns(values)
            parts.append(piece if columns is None else columns)
        if time_slice.is_over():
            await time_slice.next_turn()
    return parts


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


async def _parse_items(batch: ForwardedBatch, index: int, items: list[Any], time_slice: TimeSlice) -> int:
    """Add the items, of which the first is the batch's item number `index`; the index of the next."""
    for begin in range(0, len(items), _ITEMS_AT_ONCE):
        for event in _events(items[begin : begin + _ITEMS_AT_ONCE]):
            if isinstance(event, AuthEvent):
                _add(batch, index, event)
            else:
                batch.rejected.append(BatchResult(index=index, status="rejected", detail=event))
            index += 1
            if time_slice.is_over():
                await time_slice.next_turn()
    return index


def _events(items: list[Any]) -> Iterable[AuthEvent | str]:
    """Each item as an event or as the reason why it is none."""
    try:
        # All at once is twice as fast, and all are right as a rule. By the wire's names only, as in `validated`.
        return _ITEMS.validate_python(items, by_alias=True, by_name=False)
    except ValidationError:
        return map(_event, items)


def _event(item: Any) -> AuthEvent | str:  # noqa: ANN401 - any JSON value
    if isinstance(item, Malformed):
        return item.sentence
    try:
        return read_event(AuthEvent, item)
    except (Invalid, BadRequest) as refusal:
        return str(refusal)


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


def _fingerprint(batch: ForwardedBatch) -> str:
    """Over what was understood, so that neither the form nor the spelling of a batch matters."""
    occurred_at = {str(row): at.astimezone(UTC).isoformat() for row, at in batch.occurred_at.items()}
    keys = {str(row): identity.key for row, identity in batch.identities.items()}
    rejected = [each.index for each in batch.rejected]
    return body_sha256([batch.user_keys, batch.device_types, occurred_at, keys, rejected])
