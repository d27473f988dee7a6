"""The properties of store events that `statistics_api.delivery` needs."""

from operator import attrgetter

from contract.store_events.columns import StoreEventColumns
from contract.store_events.events import StoreEvent
from statistics_api.delivery.kinds import EventKind, row_response

STORE_EVENTS = EventKind(
    name="store_events",
    event=StoreEvent,
    columns=StoreEventColumns,
    values=attrgetter("type", "user_id", "data"),
    respond=row_response,
)
