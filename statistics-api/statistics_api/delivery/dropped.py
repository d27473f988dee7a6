"""Reads how many events a client dropped before this batch."""

from typing import Any

from fastapi import Request

from contract.delivery import DROPPED_MAX
from servicekit.errors import Invalid
from servicekit.http.headers import headers

DROPPED_HEADER = "X-Dropped-Events"
DROPPED_PARAMETER: dict[str, Any] = {
    "name": DROPPED_HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "integer", "minimum": 0, "maximum": DROPPED_MAX},
    "description": "How many events the client dropped since the last batch that told of it. Added up once for each "
    "`Idempotency-Key`.",
}


def read_dropped(request: Request) -> int:
    """Return the number of dropped events that the header tells of; 0 without the header.

    Raises:
        Invalid: it is no whole number from 0 to DROPPED_MAX, or there are two different ones.
    """
    lines = set(headers(request.scope, DROPPED_HEADER.lower().encode()))
    if not lines:
        return 0
    [line, *others] = lines
    if others:
        raise Invalid.single("must be given once", "header", DROPPED_HEADER)
    digits = line.isascii() and line.isdigit() and len(line) <= len(str(DROPPED_MAX))
    if not digits or int(line) > DROPPED_MAX:
        message = f"must be a whole number from 0 to {DROPPED_MAX}"
        raise Invalid.single(message, "header", DROPPED_HEADER)
    return int(line)
