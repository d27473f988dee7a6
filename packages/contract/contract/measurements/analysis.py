"""The answers about measurements. Sums and medians are those of the decimal values, rounded once to a double."""

from typing import Annotated, Any, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from contract.text import UtcInstant
from contract.time_series import Interval

# Made of quarters of an hour, which are kept for ever.
INTERVALS: tuple[Interval, ...] = ("hour", "day", "month")
_Count: TypeAlias = Annotated[int, Field(ge=1)]


class PeriodDraft(BaseModel):
    """The period of an analysis; both ends are included, and a time without a zone is UTC."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"start_time": "2026-11-01T00:00:00Z", "end_time": None}]}
    )

    start_time: UtcInstant | None = None
    end_time: UtcInstant | None = None

    @model_validator(mode="after")
    def _is_in_order(self) -> "PeriodDraft":
        if self.start_time is not None and self.end_time is not None and self.start_time > self.end_time:
            message = "start_time must not be after end_time"
            raise ValueError(message)
        return self


class AxisFigures(BaseModel):
    """One axis of all measurements of a period."""

    min_value: float
    max_value: float
    count: _Count
    sum: float = Field(description="Exact before it is rounded; beyond the range of a double, its greatest value.")
    median: float | None = Field(description="Exact; null where some rows of the period are no longer kept.")


class Analysis(BaseModel):
    """The measurements of a period. The ends are those of the request, and null where it had none."""

    x: AxisFigures
    y: AxisFigures
    z: AxisFigures
    period_start: AwareDatetime | None
    period_end: AwareDatetime | None
    raw_since: AwareDatetime | None = Field(
        default=None, description="Where `median` is null: since when all rows are kept."
    )


class DeviceAnalysis(BaseModel):
    """The measurements of one device."""

    device_id: str
    stats: Analysis


class UserAnalysis(BaseModel):
    """The measurements of all devices of a user, together and by device."""

    user_id: UUID
    aggregate_stats: Analysis
    device_stats: list[DeviceAnalysis]


class AxisPoint(BaseModel):
    """One axis in one bucket; null where nothing was measured."""

    min: float | None
    max: float | None
    avg: float | None
    sum: float | None
    count: int


class SeriesPoint(BaseModel):
    """The measurements of the bucket that begins at `start`."""

    start: AwareDatetime
    x: AxisPoint
    y: AxisPoint
    z: AxisPoint


class Series(BaseModel):
    """One point for each bucket."""

    interval: Interval
    timezone: str
    from_: Annotated[Any, Field(alias="from", json_schema_extra={"type": "string", "format": "date-time"})]
    to: AwareDatetime
    points: list[SeriesPoint]
