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


class DayAmount(BaseModel):
    """How many events a day had."""

    date: date
    event_amount: int = Field(ge=1, examples=[120])


class DayAverage(BaseModel):
    """How many events a user had, of those who had one on that day."""

    date: date
    event_avg_time: float = Field(ge=1, examples=[2.4])


class UserNumbers(BaseModel):
    """How many different users there were on the days from `from` to `to`, both included.

    A new one had no event before `from`; a returning one had.
    """

    from_: date = Field(alias="from", examples=["2026-11-01"])
    to: date = Field(examples=["2026-11-30"])
    timezone: str = Field(examples=["Europe/Berlin"])
    distinct: int = Field(examples=[210])
    new: int = Field(examples=[60])
    returning: int = Field(examples=[150])
