"""Auth events (family 1): one sign-in of one user on one kind of device."""

from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from contract.delivery import Event
from contract.text import CAMEL_CASE, ShortText
from contract.time_series import Interval, Point

ECHO_CHARACTERS_MAX = 50


class DeviceType(StrEnum):
    """The kinds of device, exact case. The database has the same list as an enum, and a test compares them."""

    ANDROID = "Android"
    TV = "TV"
    WATCH = "Watch"
    IOS = "iOS"


class AuthEvent(Event):
    """One sign-in, as a client sends it."""

    model_config = CAMEL_CASE | ConfigDict(
        json_schema_extra={"examples": [{"userKey": "user-123", "deviceType": "iOS"}]}
    )
    fingerprint_name: ClassVar = "auth-event"

    user_key: ShortText = Field(
        description="A pseudonym that the client chooses for the user; not an e-mail address or a name."
    )
    device_type: DeviceType


class Registered(BaseModel):
    """The response to a recorded event, which is sent after COMMIT and never before."""

    model_config = CAMEL_CASE

    status_code: Literal[200] = 200
    message: Literal["Device registered successfully"] = "Device registered successfully"


class DeviceTypeCount(BaseModel):
    """The number of events of one device type that were ever recorded."""

    model_config = CAMEL_CASE | ConfigDict(json_schema_extra={"examples": [{"deviceType": "iOS", "count": 2}]})

    device_type: DeviceType
    count: int = Field(ge=0)


class Statistics(BaseModel):
    """The counts of all device types, in alphabetical order."""

    statistics: list[DeviceTypeCount]
    total: int = Field(ge=0)


class Series(BaseModel):
    """One device type over time, without gaps."""

    model_config = CAMEL_CASE

    device_type: DeviceType
    points: list[Point]


class TimeSeries(BaseModel):
    """`from` and `to` are the requested range [from, to), extended to whole buckets."""

    interval: Interval
    timezone: str
    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    series: list[Series]


def unknown_device_type(error: ValidationError) -> str | None:
    """Return the document's sentence if an unknown device type is the only error of an event, or else None.

    The document demands 400 for that error and 422 for any other error; with both errors, the response is 422.
    """
    first, *others = error.errors(include_url=False)
    if others or first["loc"] != ("deviceType",) or first["type"] != "enum" or not isinstance(first["input"], str):
        return None
    return invalid_device_type(first["input"])


def invalid_device_type(value: str) -> str:
    """Return the document's sentence; it shows a long value only in part."""
    shown = value if len(value) <= ECHO_CHARACTERS_MAX else value[:ECHO_CHARACTERS_MAX] + "…"
    allowed = sorted(str(device_type) for device_type in DeviceType)
    return f"Invalid deviceType {shown!r}. Allowed values: {allowed}"
