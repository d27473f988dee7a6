"""Time series, the same for every family: buckets of one width, as the clocks of one zone show them."""

from typing import Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, Field

# The width of a time bucket. Days and months follow the calendar of the chosen time zone.
Interval: TypeAlias = Literal["minute", "hour", "day", "month"]


class Point(BaseModel):
    """The events of one bucket, which begins at `start` and ends where the next one begins."""

    start: AwareDatetime
    count: int = Field(ge=0)
