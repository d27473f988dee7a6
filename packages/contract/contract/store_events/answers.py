"""What clients of store events get back."""

from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, Field, JsonValue


class StoredEvent(BaseModel):
    """A store event as it is stored; `created_at` is when it happened."""

    id: int = Field(description="Its number, at most 2^53 - 1.", examples=[1007])
    type: str = Field(examples=["purchase"])
    store_id: int = Field(examples=[2])
    user_id: UUID
    data: dict[str, JsonValue]
    created_at: datetime


class EventType(BaseModel):
    """A type of events that a store has recorded."""

    type: str = Field(examples=["purchase"])


class DayAmount(BaseModel):
    """How many events a day had."""

    date: date
    event_amount: int = Field(ge=1, examples=[120])


class DayAverage(BaseModel):
    """How many events a user had, of those who had one on that day."""

    date: date
    event_avg_time: float = Field(ge=1, examples=[2.4])
