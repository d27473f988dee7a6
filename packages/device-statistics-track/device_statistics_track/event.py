"""One request of the host application as an event, and the event as a line of JSON."""

import json
import os
import uuid
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

UNMATCHED = "(unmatched)"
EXCEPTION_STATUS = 500
# As nginx calls it: the client closed the connection before the response was complete.
DISCONNECTED_STATUS = 499

# Longer values are cut. They bound the memory of the events that wait, and 512 is what the product stores.
PATH_CHARACTERS_MAX = 2048
METHOD_CHARACTERS_MAX = 32
USER_AGENT_CHARACTERS_MAX = 512
CONSUMER_CHARACTERS_MAX = 255
# The longest time that the product accepts: one hour. A longer response is reported as one hour.
RESPONSE_MICROSECONDS_MAX = 3_600_000_000

# timezone.utc, because datetime.UTC came with Python 3.11.
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Event(NamedTuple):
    """One request. It is made while the host waits, so it holds values as they came; `encode` does the work."""

    url_path: str
    method: str
    status: int
    duration_ns: int
    started_at_ns: int  # since 1970
    user_agent: str | None = None
    consumer: str | None = None


def encode(event: Event) -> bytes:
    """Return the event as JSON in ASCII, without a line end. Each call gives the event a new identity."""
    microseconds = min(event.duration_ns // 1000, RESPONSE_MICROSECONDS_MAX)
    started_at = _EPOCH + timedelta(microseconds=event.started_at_ns // 1000)
    fields: dict[str, object] = {
        "url_path": event.url_path,
        "method": event.method,
        "response_status_code": event.status,
        "response_time_ms": microseconds / 1000,
        "timestamp": started_at.isoformat(timespec="microseconds"),
        "eventId": uuid7(event.started_at_ns // 1_000_000),
    }
    if event.user_agent is not None:
        fields["user_agent"] = event.user_agent
    if event.consumer is not None:
        fields["consumer"] = event.consumer
    return json.dumps(fields, separators=(",", ":")).encode("ascii")


def clean(text: object, characters_max: int) -> str | None:
    """Return the printable characters of a text, cut to a length; None when nothing is left or it is no text."""
    if not isinstance(text, str):
        return None
    text = text[:characters_max]
    if not text.isprintable():
        text = "".join(character for character in text if character.isprintable())
    return text if text and not text.isspace() else None


def uuid7(unix_ms: int) -> str:
    """Return a new UUID of version 7 (RFC 9562): 48 bits of time, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | 7 << 76 | (random >> 62 & 0xFFF) << 64 | 2 << 62
    return str(uuid.UUID(int=value | random & (1 << 62) - 1))
