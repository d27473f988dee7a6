"""Auth events (family 1): one sign-in of one user on one kind of device."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)

from contract.text import CAMEL_CASE, Instant, ShortText

BATCH_ITEMS_MAX = 10_000

# Minute buckets are kept five days longer than the past reaches, so no accepted event falls behind them.
OCCURRED_PAST_MAX = timedelta(days=30)
OCCURRED_AHEAD_MAX = timedelta(minutes=5)

ECHO_CHARACTERS_MAX = 50

DEFAULT_PROJECT_ID = 1  # `/Log/*` without a key writes to it and reads from it


class DeviceType(StrEnum):
    """The kinds of device, exact case. The database has the same list as an enum, and a test compares them."""

    ANDROID = "Android"
    TV = "TV"
    WATCH = "Watch"
    IOS = "iOS"


class AuthEvent(BaseModel):
    """One sign-in, as a client sends it."""

    model_config = CAMEL_CASE | ConfigDict(
        json_schema_extra={"examples": [{"userKey": "user-123", "deviceType": "iOS"}]}
    )

    user_key: ShortText = Field(
        description="A pseudonym that the client chooses for the user; not an e-mail address or a name."
    )
    device_type: DeviceType
    occurred_at: Instant | None = Field(
        default=None,
        description="When the sign-in happened, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )

    def idempotency_fields(self) -> tuple[str, ...]:
        """What a repeat is compared by: all that the client said, and nothing that the server adds."""
        return ("auth-event", self.user_key, self.device_type, self.occurred_at.isoformat() if self.occurred_at else "")


class AuthEventItem(AuthEvent):
    """One sign-in of a batch; `eventId` makes repeating this item exact."""

    event_id: ShortText | None = Field(
        default=None,
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )


class Registered(BaseModel):
    """The document's answer to a recorded event: sent after COMMIT, never before."""

    model_config = CAMEL_CASE

    status_code: Literal[200] = 200
    message: Literal["Device registered successfully"] = "Device registered successfully"


class BatchResult(BaseModel):
    """One item of a batch that was not plainly registered."""

    model_config = CAMEL_CASE

    index: int = Field(ge=0, description="Position in the array, or among the non-blank lines; from 0.")
    status: Literal["duplicate", "rejected"]
    detail: str


class BatchResponse(BaseModel):
    """registered + duplicate + rejected is the number of items sent."""

    model_config = CAMEL_CASE

    registered: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    rejected: int = Field(ge=0)
    results: list[BatchResult]


class DeviceTypeCount(BaseModel):
    """How many events of one device type were ever recorded."""

    model_config = CAMEL_CASE | ConfigDict(json_schema_extra={"examples": [{"deviceType": "iOS", "count": 2}]})

    device_type: DeviceType
    count: int = Field(ge=0)


class Statistics(BaseModel):
    """The counts of all device types, in alphabetical order."""

    statistics: list[DeviceTypeCount]
    total: int = Field(ge=0)


# The width of a time bucket. Days and months follow the calendar of the chosen time zone.
Interval: TypeAlias = Literal["minute", "hour", "day", "month"]


class Point(BaseModel):
    """The events of one bucket, which begins at `start` and ends where the next one begins."""

    start: AwareDatetime
    count: int = Field(ge=0)


class Series(BaseModel):
    """One device type over time, without gaps."""

    model_config = CAMEL_CASE

    device_type: DeviceType
    points: list[Point]


class TimeSeries(BaseModel):
    """`from` and `to` are the asked range [from, to), aligned outwards to whole buckets."""

    interval: Interval
    timezone: str
    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    series: list[Series]


def validate_occurred_at(occurred_at: datetime, received_at: datetime) -> None:
    """Whether an event may have happened then.

    Raises:
        ValueError: too long ago, or in the future.
    """
    # Differences: unlike sums, they exist for every two times that can be written.
    if received_at - occurred_at > OCCURRED_PAST_MAX:
        message = f"must not be more than {OCCURRED_PAST_MAX.days} days ago"
        raise ValueError(message)
    if occurred_at - received_at > OCCURRED_AHEAD_MAX:
        message = f"must not be more than {OCCURRED_AHEAD_MAX.seconds // 60} minutes in the future"
        raise ValueError(message)


def unknown_device_type(error: ValidationError) -> str | None:
    """The document's sentence, if an unknown device type is all that is wrong with an event.

    The document answers 400 to that and 422 to anything else; when both are wrong, 422 wins.
    """
    first, *others = error.errors(include_url=False)
    if others or first["loc"] != ("deviceType",) or first["type"] != "enum" or not isinstance(first["input"], str):
        return None
    return invalid_device_type(first["input"])


def invalid_device_type(value: str) -> str:
    """The document's sentence; of a long value no more than a reader needs."""
    shown = value if len(value) <= ECHO_CHARACTERS_MAX else value[:ECHO_CHARACTERS_MAX] + "…"
    allowed = sorted(str(device_type) for device_type in DeviceType)
    return f"Invalid deviceType {shown!r}. Allowed values: {allowed}"
