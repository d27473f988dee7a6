"""Store events in columns, as they travel to the private service."""

from collections.abc import Sequence
from typing import Annotated, Any, Self, TypeAlias

from pydantic import JsonValue, StringConstraints, TypeAdapter
from pydantic_core import from_json

from contract.delivery import EventColumns, EventId
from contract.store_events.data import EventData
from contract.store_events.events import TYPE_CHARACTERS_MAX, TypeName
from contract.text import READABLE_PATTERN, parsed_once

_Type: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=TYPE_CHARACTERS_MAX, pattern=READABLE_PATTERN)
]


class StoreEventColumns(EventColumns):
    """The fields of store events, one value an event."""

    types: list[_Type]
    user_ids: list[EventId]
    data: list[dict[str, JsonValue]]

    @classmethod
    def parse(cls, types: Sequence[Any], user_ids: list[str], data: Sequence[str | None]) -> Self:
        """Return the columns of events whose users are known, as StoreEvent has each of them; no data is no member.

        Equal texts are parsed once.

        Raises:
            ValueError: one of the events is refused; StoreEvent says which, and why.
        """
        return cls._constructed(
            {
                "types": parsed_once(_TYPE.validate_python, types),
                "user_ids": user_ids,
                "data": parsed_once(_parsed_data, data),
            }
        )


_TYPE: TypeAdapter[str] = TypeAdapter(TypeName)
_DATA: TypeAdapter[dict[str, Any]] = TypeAdapter(EventData)


def _parsed_data(text: str | None) -> dict[str, Any]:
    return {} if text is None else _DATA.validate_python(from_json(text))
