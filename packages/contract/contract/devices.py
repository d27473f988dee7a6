"""Devices of a project (family 2). Their ids are the client's own; their users are persons of the project."""

from typing import Annotated, TypeAlias
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from contract.text import ShortText

DEVICE_NOT_FOUND = "Device not found"
DEVICE_EXISTS = "Device with this ID already exists"
USER_NOT_FOUND = "User not found"


def _nameable(value: str) -> str:
    if value in (".", ".."):
        message = "must not be . or .., which no path can name"
        raise ValueError(message)
    return value


DeviceId: TypeAlias = Annotated[ShortText, AfterValidator(_nameable)]
DeviceName: TypeAlias = ShortText


class DeviceDraft(BaseModel):
    """The fields of a new device."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"device_id": "sensor-7", "name": "Boiler room"}]}
    )

    device_id: DeviceId = Field(description="Your own id of the device; any characters, unique in the project.")
    name: DeviceName | None = None
    user_id: UUID | None = Field(default=None, description="A user of the project.")


class DeviceChange(BaseModel):
    """The fields of a device that change. A field that is absent stays; null clears the name, or unassigns the user."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"name": "Boiler room, left"}]})

    name: DeviceName | None = None
    user_id: UUID | None = None


class Device(BaseModel):
    """One device. `id` is our number, `device_id` the client's own id."""

    id: int
    device_id: str
    name: str | None
    user_id: UUID | None


class LatestMeasurement(BaseModel):
    """The measurement of a device that was measured last, whenever it arrived."""

    x: float
    y: float
    z: float
    timestamp: AwareDatetime


class ListedDevice(Device):
    """A device as the list shows it; null where nothing was measured yet."""

    last_seen: AwareDatetime | None
    latest: LatestMeasurement | None
