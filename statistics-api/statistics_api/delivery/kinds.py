"""An event kind: what differs between the events of one family and those of another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, Self, TypeAlias, TypeVar, get_origin

from fastapi import Response
from pydantic import TypeAdapter, ValidationError

from contract.delivery import Event, EventColumns
from servicekit.errors import BadRequest, Invalid, OutcomeUnknown
from servicekit.http.bodies import validate, validated
from statistics_api.delivery.splitting import Malformed

EventModel = TypeVar("EventModel", bound=Event)
# One list for each field of the kind's columns model, in the model's order, with one value for each event.
Columns: TypeAlias = Sequence[list[Any]]

_REPLAYED = {"Idempotent-Replayed": "true"}


class Recorded(NamedTuple):
    """The event is stored, by this request or by an earlier one with the same key; `row` is the stored row as JSON, if
    the kind returns it. One that is not counted yet is in the inbox: see `delivery.deferral`.
    """

    row: bytes | None = None
    is_replay: bool = False
    is_counted: bool = True


def _reads_no_columns(_: Sequence[Any]) -> Columns | None:
    return None


def _has_no_sentence(_: ValidationError) -> str | None:
    return None


@dataclass(frozen=True)
class EventKind(Generic[EventModel]):
    """The properties of one kind of event that this package needs.

    `values` returns the kind's own fields of an event, as JSON writes them, in the order of the model `columns`, which
    is also the order of the model `event`.

    `parse_columns` is an optional fast reader of plain items. A plain item has only the kind's own fields (no
    `eventId`, no `occurredAt`, no unknown field), and the model would accept it without a change. If an item is not
    plain, `parse_columns` returns None, and the model reads the items. A single event is always read by the model,
    which is faster for one.
    """

    name: str
    event: type[EventModel]
    columns: type[EventColumns]
    values: Callable[[EventModel], tuple[Any, ...]]
    respond: Callable[[Recorded], Response]
    parse_columns: Callable[[Sequence[Any]], Columns | None] = _reads_no_columns
    # The fields that the path of a request gives, and no body can; they are the first ones of the kind.
    path_fields: Mapping[str, Any] = field(default_factory=dict)
    # Returns a sentence for the one validation error for which the kind's document demands 400, or else None.
    bad_value: Callable[[ValidationError], str | None] = _has_no_sentence

    def at_path(self, **fields: object) -> Self:
        """Return the kind for a request whose path gives these fields."""
        return replace(self, path_fields=fields)

    def plain_columns(self, items: Sequence[Any]) -> Columns | None:
        """Return plain items in columns, as `parse_columns`, with those of the path before them."""
        columns = self.parse_columns(items)
        if columns is None or not self.path_fields:
            return columns
        return [*([value] * len(items) for value in self.path_fields.values()), *columns]

    def read(self, value: object, *where: str) -> EventModel:
        """Return `value` as an event; `where` is its location in the messages.

        Raises:
            BadRequest: a value for which the kind's document demands 400.
            Invalid: anything else is wrong.
        """
        return validated(self.event, self._at_path(value), *where, bad_value=self.bad_value)

    def validate(self, value: object) -> EventModel:
        """Return `value` as an event, without an explanation of what is wrong. Raises pydantic.ValidationError."""
        return validate(self.event, self._at_path(value))

    def read_all(self, values: Sequence[Any]) -> Iterable[EventModel | str]:
        """Return each value as an event, or as the reason why it is invalid."""
        try:
            # Usually all are valid, and validating them together is twice as fast. Only by alias, as in `validate`.
            placed = [self._at_path(value) for value in values] if self.path_fields else values
            return _list_of(self.event).validate_python(placed, by_alias=True, by_name=False)
        except ValidationError:
            return map(self._event_or_reason, values)

    def name_columns(self, columns: Iterable[Sequence[Any]]) -> Mapping[str, object]:
        """Return the columns as they are sent: a field that few events have is a dict from positions to values."""
        return {
            name: _sparse(column) if name in self._sparse_fields else column
            for name, column in zip(self.columns.model_fields, columns, strict=True)
        }

    def compared_columns(self, columns: Columns) -> Columns:
        """Return the columns that a repeat of a batch is compared by."""
        left_out = self.event.not_compared
        own = (name for name in self.event.model_fields if name not in Event.model_fields)
        return [column for name, column in zip(own, columns, strict=True) if name not in left_out]

    def _event_or_reason(self, value: object) -> EventModel | str:
        if isinstance(value, Malformed):
            return value.sentence
        try:
            return self.read(value)
        except (BadRequest, Invalid) as refusal:
            return str(refusal)

    def _at_path(self, value: object) -> object:
        return {**value, **self.path_fields} if self.path_fields and isinstance(value, dict) else value

    @cached_property
    def _sparse_fields(self) -> frozenset[str]:
        return frozenset(
            name for name, field in self.columns.model_fields.items() if get_origin(field.annotation) is dict
        )


def fixed_response(body: bytes, status: int = HTTPStatus.OK) -> Callable[[Recorded], Response]:
    """Return a function that answers every event with one fixed response; a replay gets a header that marks it."""
    first, again = (
        Response(body, status, headers, media_type="application/json") for headers in (None, replayed_headers())
    )
    return lambda recorded: again if recorded.is_replay else first


def row_response(recorded: Recorded) -> Response:
    """Return the response with the stored row, for a new event and for a replay. Raises OutcomeUnknown without one."""
    if recorded.row is None:
        raise OutcomeUnknown("the private service did not return the stored row")
    headers = replayed_headers() if recorded.is_replay else None
    return Response(recorded.row, HTTPStatus.CREATED, headers, media_type="application/json")


def replayed_headers() -> dict[str, str]:
    """Return the headers that mark a replay."""
    return dict(_REPLAYED)


@cache
def _list_of(event: type[EventModel]) -> TypeAdapter[list[EventModel]]:
    """Made once for each kind, and not for each path."""
    return TypeAdapter(list[event])  # type: ignore[valid-type] # the type is a value here


def _sparse(column: Sequence[Any]) -> dict[int, Any]:
    return {position: value for position, value in enumerate(column) if value is not None}
