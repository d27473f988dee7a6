"""Store events in columns, as they travel to the private service."""

from typing import Annotated, TypeAlias

from pydantic import JsonValue, StringConstraints

from contract.delivery import EventColumns, EventId
from contract.store_events.events import TYPE_CHARACTERS_MAX
from contract.text import READABLE_PATTERN

_Type: TypeAlias = Annotated[
    str, StringConstraints(min_length=1, max_length=TYPE_CHARACTERS_MAX, pattern=READABLE_PATTERN)
]


class StoreEventColumns(EventColumns):
    """The fields of store events, one value an event."""

    types: list[_Type]
    user_ids: list[EventId]
    data: list[dict[str, JsonValue]]
