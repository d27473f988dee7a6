"""Reads a client's batch, which is an array or lines, and accepts or rejects each item on its own."""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from sys import intern
from typing import Any

from pydantic_core import to_json
from uuid_utils import uuid7

from contract.delivery import BATCH_ITEMS_MAX
from servicekit.concurrency.time_slice import TimeSlice
from servicekit.errors import Invalid
from servicekit.http.bodies import fingerprint
from servicekit.http.strict_json import MalformedJson, decode
from statistics_api.delivery.accepting import AcceptedKey, accepted_key_of, valid_occurred_at
from statistics_api.delivery.kinds import Columns, EventKind, EventModel
from statistics_api.delivery.splitting import (
    PIECE_BYTES_MAX,
    SEVERAL_VALUES,
    Piece,
    count_lines,
    is_array,
    read_slowly,
    split_array,
    split_lines,
    values_of,
)

NDJSON = "application/x-ndjson"
NDJSON_TYPES = (NDJSON, "application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines")
# The items that are validated together. A failed validation keeps all its errors in memory until its last item.
_ITEMS_AT_ONCE = 250
# The characters of complete reasons in one batch. Four reasons for each of 10,000 items are 3.4 MB, from a body of
# 0.3 MB, and are sent three times.
REASON_CHARACTERS_MAX = 256 * 1024


@dataclass
class AcceptedBatch:
    """One client's batch, with each item accepted or rejected. Positions count accepted items, indexes count all."""

    project_id: int
    batch_id: str
    received_at: datetime
    columns: list[list[Any]]
    occurred_at: dict[int, datetime] = field(default_factory=dict)
    keys: dict[int, AcceptedKey] = field(default_factory=dict)
    # The reason for each rejected item, by its index.
    rejected: dict[int, str] = field(default_factory=dict)
    key: AcceptedKey | None = None
    # The events that the client dropped before these.
    dropped: int = 0
    # Whether the client agreed that its events are counted later.
    is_deferrable: bool = False
    _reason_characters: int = 0

    def reject(self, reason: str) -> None:
        """Reject the next item. When many reasons are long, the later ones are cut after their first sentence."""
        if self._reason_characters > REASON_CHARACTERS_MAX:
            reason = reason.partition("; ")[0]
        self._reason_characters += len(reason)
        self.rejected[self.next_index] = intern(reason)  # the reasons of many items are the same

    @property
    def next_position(self) -> int:
        """The number of items accepted so far."""
        return len(self.columns[0])

    @property
    def next_index(self) -> int:
        """The number of items read so far."""
        return len(self.columns[0]) + len(self.rejected)

    def fingerprint(self, kind: EventKind[EventModel]) -> str:
        """Return the fingerprint of the validated values, so it does not depend on how the client wrote them."""
        occurred_at = {position: at.isoformat() for position, at in self.occurred_at.items()}
        keys = {position: each.key for position, each in self.keys.items()}
        return fingerprint([kind.name, kind.compared_columns(self.columns), occurred_at, keys, list(self.rejected)])


async def read_batch(
    kind: EventKind[EventModel],
    body: bytes,
    key: str | None,
    *,
    content_type: str,
    project_id: int,
    received_at: datetime,
) -> AcceptedBatch:
    """Return the batch in the body of a request; `key` is the value of the header. It yields to the event loop often.

    Raises:
        Invalid: the body as a whole is not a batch.
    """
    batch = AcceptedBatch(project_id, str(uuid7()), received_at, [[] for _ in kind.columns.model_fields])
    time_slice = TimeSlice()
    if content_type.partition(";")[0].strip().lower() in NDJSON_TYPES:
        await _read_lines(kind, body, batch, time_slice)
    else:
        await _read_array(kind, body, batch, time_slice)
    if batch.next_index == 1 and batch.rejected == {0: SEVERAL_VALUES}:
        raise MalformedJson(SEVERAL_VALUES)  # this is no bad line among others: the file has lost its line ends
    if key is not None:
        batch.key = AcceptedKey(key, batch.fingerprint(kind))
    return batch


def encode_batch(kind: EventKind[EventModel], batch: AcceptedBatch) -> bytes:
    """The batch as a contract.delivery.Batch of the kind."""
    return to_json(
        {
            "project_id": batch.project_id,
            "batch_id": batch.batch_id,
            "received_at": batch.received_at,
            "columns": kind.name_columns(batch.columns),
            "occurred_at": batch.occurred_at,
            "keys": {position: each._asdict() for position, each in batch.keys.items()},
            # A generator: ten thousand dicts at the same time would take more memory than the batch.
            "rejected": (
                {"index": index, "status": "rejected", "detail": reason} for index, reason in batch.rejected.items()
            ),
            "key": None if batch.key is None else batch.key._asdict(),
            "dropped": batch.dropped,
            "deferrable": batch.is_deferrable,
        }
    )


async def _read_lines(kind: EventKind[EventModel], body: bytes, batch: AcceptedBatch, time_slice: TimeSlice) -> None:
    """Read one event per line; the lines are counted before the first one is read.

    Raises:
        Invalid: too many lines.
    """
    if count_lines(body, BATCH_ITEMS_MAX) > BATCH_ITEMS_MAX:
        raise _too_many()
    for step in split_lines(body):
        if step is not None:
            piece, values = step
            columns = None if values is None else kind.plain_columns(values)
            if columns is not None:
                _extend(batch.columns, columns)
            else:
                await _read_items(kind, body, piece, values, batch, time_slice)
        if time_slice.is_over():
            await time_slice.next_turn()


async def _read_array(kind: EventKind[EventModel], body: bytes, batch: AcceptedBatch, time_slice: TimeSlice) -> None:
    """Read the items of an array. Plain pieces are read while they are counted, the others after all are counted.

    Raises:
        Invalid: the body is not an array, or it has too many items.
    """
    if not is_array(body):
        if len(body) <= PIECE_BYTES_MAX:
            decode(body)  # raises a more precise error if the body is not JSON
        raise Invalid.single(f"a JSON array was expected; for one event a line, send Content-Type: {NDJSON}")
    parts: list[Columns | Piece] = []
    count = 0
    for step in split_array(body):
        if step is not None:
            piece, values = step
            count += 1 if values is None else len(values)
            if count > BATCH_ITEMS_MAX:
                raise _too_many()
            columns = None if values is None else kind.plain_columns(values)
            parts.append(piece if columns is None else columns)
        if time_slice.is_over():
            await time_slice.next_turn()
    for part in parts:
        if isinstance(part, Piece):
            await _read_items(kind, body, part, values_of(body, part), batch, time_slice)
        else:
            _extend(batch.columns, part)


async def _read_items(
    kind: EventKind[EventModel],
    body: bytes,
    piece: Piece,
    values: list[Any] | None,
    batch: AcceptedBatch,
    time_slice: TimeSlice,
) -> None:
    """Read the items of a piece one by one, from its `values` if they are known."""
    together = 1 if values is None else _ITEMS_AT_ONCE
    remaining = iter(read_slowly(body, piece) if values is None else values)
    while items := list(islice(remaining, together)):
        for event in kind.read_all(items):
            _add(kind, batch, event)
            if time_slice.is_over():
                await time_slice.next_turn()


def _extend(columns: list[list[Any]], more: Columns) -> None:
    for column, values in zip(columns, more, strict=True):
        column.extend(values)


def _add(kind: EventKind[EventModel], batch: AcceptedBatch, event: EventModel | str) -> None:
    if isinstance(event, str):
        batch.reject(event)
        return
    position = batch.next_position
    try:
        occurred_at = valid_occurred_at(event, batch.received_at)
    except Invalid as refusal:
        batch.reject(str(refusal))
        return
    if occurred_at is not None:
        batch.occurred_at[position] = occurred_at
    key = accepted_key_of(event, event.event_id)
    if key is not None:
        batch.keys[position] = key
    for column, value in zip(batch.columns, kind.values(event), strict=True):
        column.append(value)


def _too_many() -> Invalid:
    return Invalid.single(f"at most {BATCH_ITEMS_MAX} items make a batch, and this one has more")
