"""Store events: what one user of a store did, with data of the store's own."""

from typing import Annotated, ClassVar, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints

from contract.delivery import Event
from contract.store_events.data import DATA_BYTES_MAX, DATA_LEVELS_MAX, EventData
from contract.text import Instant, ShortText

TYPE_CHARACTERS_MAX = 100

TypeName: TypeAlias = Annotated[ShortText, StringConstraints(max_length=TYPE_CHARACTERS_MAX)]
UserId: TypeAlias = Annotated[
    str,
    StringConstraints(strict=True, pattern=r"^[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"),
    AfterValidator(str.lower),
]


class StoreEvent(Event):
    """One event, as a client sends it."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "type": "purchase",
                    "user_id": "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55",
                    "data": {"order": "A-1007", "amount": 49.9},
                }
            ]
        },
    )
    fingerprint_name: ClassVar = "store-event"

    type: TypeName = Field(description="What happened, in the store's own words.")
    user_id: UserId = Field(description="The id of a user of the store, a UUID.")
    data: EventData = Field(
        description=f"Any object of at most {DATA_BYTES_MAX} bytes and {DATA_LEVELS_MAX} levels. It is kept with the "
        "event, and nothing is counted by it."
    )
    occurred_at: Instant | None = Field(
        default=None,
        description="When the event happened, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )
    event_id: ShortText | None = Field(
        default=None,
        alias="eventId",
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )
