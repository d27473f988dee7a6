"""An event kind: what differs between the events of one family and those of another."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar, get_origin

from fastapi import Response
from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json

from contract.delivery import Event, EventColumns
from servicekit.errors import BadRequest, Invalid
from servicekit.http.bodies import validated
from statistics_api.delivery.splitting import Malformed

EventModel = TypeVar("EventModel", bound=Event)
# One list for each field of the kind's columns model, in the model's order, with one value for each event.
Columns: TypeAlias = Sequence[list[Any]]

_REPLAYED = {"Idempotent-Replayed": "true"}


class Recorded(NamedTuple):
    """The event is stored: by this request, or by an earlier one with the same identity. `row` is what is stored."""

    is_replay: bool
    row: JsonValue = None


def _reads_no_columns(_: Sequence[Any]) -> Columns | None:
    return None


def _has_no_sentence(_: ValidationError) -> str | None:
    return None


@dataclass(frozen=True)
class EventKind(Generic[EventModel]):
    """What the rest of this package needs to know about one kind of event.

    `values` gives an event's own fields in the order of the model `columns`, as JSON writes them. That is the order of
    the model `event`, too.

    `parse_columns` is a fast reader, and optional. It reads plain items: those with the kind's own fields and nothing
    else (no `eventId`, no `occurredAt`, no unknown field), which the model would accept without a change. For any other
    item it returns None, and the model has the last word. The same rule holds for a single event and for a batch.
    """

    name: str
    event: type[EventModel]
    columns: type[EventColumns]
    values: Callable[[EventModel], tuple[Any, ...]]
    respond: Callable[[Recorded], Response]
    parse_columns: Callable[[Sequence[Any]], Columns | None] = _reads_no_columns
    # Finds the one validation error that the kind's document answers with 400 and a sentence of its own.
    bad_value: Callable[[ValidationError], str | None] = _has_no_sentence

    def read(self, value: object, *where: str) -> EventModel:
        """`value` as an event; `where` leads to it in the messages.

        Raises:
            BadRequest: a value that the kind's document answers with 400.
            Invalid: anything else that is wrong.
        """
        return validated(self.event, value, *where, bad_value=self.bad_value)

    def read_all(self, values: Sequence[Any]) -> Iterable[EventModel | str]:
        """Each value as an event, or the reason why it is none."""
        try:
            # All at once is twice as fast, and all are right as a rule. By the wire's names only, as in `validated`.
            return self._list.validate_python(values, by_alias=True, by_name=False)
        except ValidationError:
            return map(self._event_or_reason, values)

    def name_columns(self, columns: Iterable[Sequence[Any]]) -> Mapping[str, object]:
        """The columns as they travel: a field that few events have is a dict from the position to the value."""
        return {
            name: _sparse(column) if name in self._sparse_fields else column
            for name, column in zip(self.columns.model_fields, columns, strict=True)
        }

    def _event_or_reason(self, value: object) -> EventModel | str:
        if isinstance(value, Malformed):
            return value.sentence
        try:
            return self.read(value)
        except (BadRequest, Invalid) as refusal:
            return str(refusal)

    @cached_property
    def _list(self) -> TypeAdapter[list[EventModel]]:
        return TypeAdapter(list[self.event])  # type: ignore[name-defined] # the type is a value here

    @cached_property
    def _sparse_fields(self) -> frozenset[str]:
        return frozenset(
            name for name, field in self.columns.model_fields.items() if get_origin(field.annotation) is dict
        )


def fixed_response(body: bytes, status: int = HTTPStatus.OK) -> Callable[[Recorded], Response]:
    """Answers every event with the same response, made once; a replay says that it is one."""
    first, again = (
        Response(body, status, headers, media_type="application/json") for headers in (None, replayed_headers())
    )
    return lambda recorded: again if recorded.is_replay else first


def row_response(recorded: Recorded) -> Response:
    """Answers an event with the stored row, and a replay with the same."""
    headers = replayed_headers() if recorded.is_replay else None
    return Response(to_json(recorded.row), HTTPStatus.CREATED, headers, media_type="application/json")


def replayed_headers() -> dict[str, str]:
    """The headers that tell a replay."""
    return dict(_REPLAYED)


def _sparse(column: Sequence[Any]) -> dict[int, Any]:
    return {position: value for position, value in enumerate(column) if value is not None}
