"""An event or a batch as the public service reads it, without the service around it."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from servicekit.errors import DomainError
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.delivery.accepting import AcceptedEvent, accept
from statistics_api.delivery.batches import AcceptedBatch, read_batch
from tests.delivery.bodies import ARRAY

PROJECT_ID = 1
REQUEST_ID = "request-1"


def read_one(body: bytes, key: str | None = None) -> AcceptedEvent | DomainError:
    """A single event, or why it is none."""
    try:
        return accept(AUTH_EVENTS, body, key, project_id=PROJECT_ID, request_id=REQUEST_ID)
    except DomainError as refusal:
        return refusal


def reading_of(body: bytes, content_type: str = ARRAY, key: str | None = None) -> Any:  # noqa: ANN401 - a coroutine
    """The coroutine that reads a batch."""
    return read_batch(
        AUTH_EVENTS, body, key, content_type=content_type, project_id=PROJECT_ID, received_at=datetime.now(UTC)
    )


def read_many(body: bytes, content_type: str = ARRAY, key: str | None = None) -> AcceptedBatch | DomainError:
    """A batch, or why it is none."""
    try:
        batch: AcceptedBatch = asyncio.run(reading_of(body, content_type, key))
    except DomainError as refusal:
        return refusal
    return batch
