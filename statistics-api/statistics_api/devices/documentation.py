"""What the routes of devices and below a device have in common: their parameters, read and documented."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from servicekit.http.openapi import Schema, query
from servicekit.http.query_parameters import read_number

SKIP = "skip"
LIMIT = "limit"
LIMIT_MAX = 100
# A page is found by reading all before it.
SKIP_MAX = 100_000

DEVICE_ID: Schema = {
    "name": "device_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string"},
    "description": "Your own id of the device, percent-encoded: `a%2Fb` is the device `a/b`.",
}
SKIP_PARAMETER = query(SKIP, Annotated[int, Field(ge=0, le=SKIP_MAX)], "How many are left out. Default: 0.", example=0)
LIMIT_PARAMETER = query(LIMIT, Annotated[int, Field(ge=1, le=LIMIT_MAX)], f"Default: {LIMIT_MAX}.", example=LIMIT_MAX)


def at_device(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route below a device."""
    return extra | {"parameters": [DEVICE_ID, *extra.get("parameters", ())]}


def skip_and_limit(parameters: Mapping[str, str]) -> tuple[int, int]:
    """Return how many are left out, and how many are shown. Raises Invalid."""
    return read_number(parameters, SKIP, 0, 0, SKIP_MAX), read_number(parameters, LIMIT, LIMIT_MAX, 1, LIMIT_MAX)
