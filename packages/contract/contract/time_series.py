"""Time series, the same for every family: buckets of one width, in the local time of one zone."""

from datetime import timedelta
from typing import Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, Field

# The width of a time bucket. Days and months follow the calendar of the chosen time zone.
Interval: TypeAlias = Literal["minute", "hour", "day", "month"]
# Minutes are kept and can be requested for this time: five days longer than an event may be late. Quarters of an hour,
# which all wider buckets are made of, are kept permanently.
MINUTES_KEPT = timedelta(days=35)


class Point(BaseModel):
    """The events of one bucket, which begins at `start` and ends where the next one begins."""

    start: AwareDatetime
    count: int = Field(ge=0)
