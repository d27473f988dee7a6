"""Measurements (family 2): three numbers that a device measured at one time."""

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, ClassVar, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from contract.delivery import Event, EventColumns
from contract.text import ShortText, UtcInstant

AXES = ("x", "y", "z")
_NO_NUMBER = "must be a finite number"


def finite(value: Any) -> float:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Return a number as the nearest double; a negative zero becomes zero, so that equal values are one value.

    Raises:
        ValueError: it is no number, or it is beyond the range of a double.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(_NO_NUMBER)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    try:
        number = float(value) + 0.0
    except OverflowError:
        raise ValueError(_NO_NUMBER) from None
    if not isfinite(number):
        raise ValueError(_NO_NUMBER)
    return number


Coordinate: TypeAlias = Annotated[float, BeforeValidator(finite)]
DeviceNumber: TypeAlias = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
_StoredCoordinate: TypeAlias = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Measurement(Event):
    """One measurement, as a client sends it to the path of its device."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"x": 0.25, "y": -1.5, "z": 9.81}]})
    fingerprint_name: ClassVar = "measurement"

    # The device is in the path of the request, and never in its body.
    device_number: SkipJsonSchema[DeviceNumber]
    x: Coordinate
    y: Coordinate
    z: Coordinate
    occurred_at: UtcInstant | None = Field(
        default=None,
        alias="timestamp",
        description="When it was measured, if not now: up to 30 days ago, at most 5 minutes ahead. A time without a "
        "zone is UTC.",
    )
    event_id: ShortText | None = Field(
        default=None,
        alias="eventId",
        description="The client's own identity for this measurement. A repeat within 48 hours counts nothing.",
    )


class MeasurementColumns(EventColumns):
    """Measurements in columns, as they travel to the private service."""

    device_numbers: list[DeviceNumber]
    xs: list[_StoredCoordinate]
    ys: list[_StoredCoordinate]
    zs: list[_StoredCoordinate]

    @classmethod
    def parse(cls, device_numbers: list[int], xs: Sequence[Any], ys: Sequence[Any], zs: Sequence[Any]) -> Self:
        """Return the columns of measurements of known devices, as Measurement has each of them.

        Raises:
            ValueError: one of the measurements is refused; Measurement says which, and why.
        """
        axes = {"xs": _parsed_coordinates(xs), "ys": _parsed_coordinates(ys), "zs": _parsed_coordinates(zs)}
        return cls._constructed({"device_numbers": device_numbers, **axes})


def _parsed_coordinates(values: Sequence[Any]) -> list[float]:
    if not {float}.issuperset(map(type, values)) or not all(map(isfinite, values)):
        raise ValueError(_NO_NUMBER)
    return [value + 0.0 for value in values]  # as `finite` makes a zero of a negative one


class StoredMeasurement(BaseModel):
    """One measurement as it is stored. `timestamp` is when it was measured."""

    id: str
    device_id: str
    x: float
    y: float
    z: float
    timestamp: str = Field(json_schema_extra={"format": "date-time"})
