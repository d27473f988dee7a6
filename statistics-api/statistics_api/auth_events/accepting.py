"""From what a client sent to a registration: the edge gives its id and its time once, for every retry to come."""

from datetime import datetime

from uuid_utils import uuid7

from contract.auth_events.events import AuthEvent, unknown_device_type
from contract.projects import DEFAULT_PROJECT_ID
from contract.registrations import IdempotencyKey, Registration
from servicekit.http.bodies import Model, body_sha256, validated


def read_event(model: type[Model], value: object, *where: str) -> Model:
    """`value` as an event.

    Raises:
        BadRequest: an unknown device type, and nothing else wrong.
        Invalid: anything else.
    """
    return validated(model, value, *where, bad_value=unknown_device_type)


def accept(event: AuthEvent, key: str | None, received_at: datetime, *where: str) -> Registration:
    """Make `event` ready for the private service.

    Raises:
        Invalid: it happened too long ago, or in the future.
    """
    return validated(
        Registration,
        {
            "project_id": DEFAULT_PROJECT_ID,
            "event_id": str(uuid7()),
            "received_at": received_at,
            "user_key": event.user_key,
            "device_type": event.device_type,
            "occurredAt": event.occurred_at,
            "identity": None
            if key is None
            else IdempotencyKey(key=key, body_sha256=body_sha256(event.idempotency_fields())),
        },
        *where,
    )
