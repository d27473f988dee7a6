"""How many different users there were: the answer of every kind of event that counts them."""

from datetime import date

from pydantic import BaseModel, Field


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
