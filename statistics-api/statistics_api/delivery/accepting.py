"""Turns a client's request into an accepted event, which gets its id and its time of receipt once, for all retries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json
from uuid_utils import uuid7

from contract.delivery import Event, validate_occurred_at
from servicekit.errors import Invalid
from servicekit.http.bodies import fingerprint
from servicekit.http.strict_json import decode
from servicekit.process import clock
from statistics_api.delivery.kinds import EventKind, EventModel


class AcceptedKey(NamedTuple):
    """An idempotency key, and the fingerprint that a repeat is compared by."""

    key: str
    fingerprint: str


class ReadEvent(NamedTuple):
    """One validated event, which has no id yet; it is not validated again before it is forwarded."""

    received_at: datetime
    values: tuple[Any, ...]
    occurred_at: datetime | None
    key: AcceptedKey | None


class AcceptedEvent(NamedTuple):
    """One validated event with its id, in its project."""

    project_id: int
    event_id: str
    received_at: datetime
    request_id: str
    values: tuple[Any, ...]
    occurred_at: datetime | None = None
    key: AcceptedKey | None = None
    # Whether its client agreed that it is counted later.
    is_deferrable: bool = False


def accept(
    kind: EventKind[EventModel],
    body: bytes,
    key: str | None,
    *,
    project_id: int,
    request_id: str,
    is_deferrable: bool = False,
) -> AcceptedEvent:
    """Return the event in the body of a request; `key` is the value of the header.

    Raises:
        BadRequest: a value for which the kind's document demands 400.
        Invalid: anything else is wrong.
    """
    # The parser checks the JSON, and the model checks its fields: a field that no model reads may have any JSON value.
    event = kind.read(decode(body), "body")
    return accept_read(
        _read(kind, event, key), project_id=project_id, request_id=request_id, is_deferrable=is_deferrable
    )


def read_valid(kind: EventKind[EventModel], body: bytes, key: str | None) -> ReadEvent | None:
    """Return the event in the body of a request, or None for whatever `accept` refuses.

    It never raises and never waits, so the callback of the HTTP parser can call it. It uses only the fast JSON parser:
    None is also returned for the rare JSON that this parser refuses.
    """
    try:
        return _read(kind, kind.validate(from_json(body, allow_inf_nan=False, cache_strings="keys")), key)
    except (ValueError, Invalid):  # also pydantic's ValidationError
        return None


def accept_read(read: ReadEvent, *, project_id: int, request_id: str, is_deferrable: bool = False) -> AcceptedEvent:
    """Give an event its id."""
    received_at, values, occurred_at, key = read
    return AcceptedEvent(project_id, str(uuid7()), received_at, request_id, values, occurred_at, key, is_deferrable)


def valid_occurred_at(event: Event, received_at: datetime, *where: str) -> datetime | None:
    """Return the time when the event happened, in UTC, or None.

    Raises:
        Invalid: it is too long ago, or in the future.
    """
    if event.occurred_at is None:
        return None
    try:
        validate_occurred_at(event.occurred_at, received_at)
    except ValueError as error:
        name = type(event).model_fields["occurred_at"].alias or "occurred_at"
        raise Invalid.single(str(error), *where, name) from None
    return event.occurred_at


def accepted_key_of(event: Event, key: str | None) -> AcceptedKey | None:
    """Return the accepted key of an event, or None if it has no key."""
    return None if key is None else AcceptedKey(key, fingerprint(event.idempotency_fields()))


def encode_forward(kind: EventKind[EventModel], events: Sequence[AcceptedEvent]) -> bytes:
    """Return the events as one contract.delivery.Forward of the kind, in JSON."""
    project_ids, event_ids, received_at, request_ids, values, occurred_at, keys, deferrable = zip(*events, strict=True)
    return to_json(
        {
            "columns": kind.name_columns(list(column) for column in zip(*values, strict=True)),
            "project_ids": project_ids,
            "event_ids": event_ids,
            "received_at": received_at,
            "request_ids": request_ids,
            "occurred_at": {position: at for position, at in enumerate(occurred_at) if at is not None},
            "keys": {position: key._asdict() for position, key in enumerate(keys) if key is not None},
            "deferrable": [position for position, each in enumerate(deferrable) if each],
        }
    )


def _read(kind: EventKind[EventModel], event: EventModel, key: str | None) -> ReadEvent:
    received_at = clock.now()
    occurred_at = valid_occurred_at(event, received_at, "body")
    try:
        key = event.key_beside(key)
    except ValueError as error:
        raise Invalid.single(str(error), "body", "eventId") from None
    return ReadEvent(received_at, kind.values(event), occurred_at, accepted_key_of(event, key))
