"""The properties of measurements that `statistics_api.delivery` needs."""

from collections.abc import Sequence
from functools import lru_cache
from math import isfinite
from operator import attrgetter, itemgetter
from typing import Any

from contract.measurements.events import AXES, Measurement, MeasurementColumns
from statistics_api.delivery.kinds import Columns, EventKind, row_response

DEVICES_REMEMBERED = 10_000
_NUMBERS = {int, float}


def parse_columns(items: Sequence[Any]) -> Columns | None:
    """Return the items in columns, or None unless each has three finite numbers and nothing else."""
    try:
        columns = [list(map(itemgetter(axis), items)) for axis in AXES]
        if not all(len(item) == len(AXES) for item in items):
            return None
        if not all(set(map(type, column)) <= _NUMBERS and all(map(isfinite, column)) for column in columns):
            return None
        # As the model does: the nearest doubles, without a negative zero.
        return [[float(value) + 0.0 for value in column] for column in columns]
    except (KeyError, TypeError, OverflowError):  # a missing field, not an object, or an integer beyond a double
        return None


MEASUREMENTS = EventKind(
    name="measurements",
    event=Measurement,
    columns=MeasurementColumns,
    values=attrgetter("device_number", *AXES),
    respond=row_response,
    parse_columns=parse_columns,
)


@lru_cache(DEVICES_REMEMBERED)
def of_device(device_number: int) -> EventKind[Measurement]:
    """Return the kind for a request whose path names this device."""
    return MEASUREMENTS.at_path(device_number=device_number)
