"""Relays answers of the private service to clients, and tells it what a repeat is compared by."""

from collections.abc import Sequence

from fastapi import Response
from pydantic import BaseModel

from contract.delivery import IdempotencyKey
from servicekit.http.bodies import fingerprint
from statistics_api.delivery.device_api import DeviceApiResponse

# No cache may keep a key, and none may show a project to another account.
NOT_STORED = {"Cache-Control": "no-store"}


def identity_of(key: str, draft: BaseModel, segments: Sequence[str]) -> IdempotencyKey:
    """What is compared of a repeat: the fields as they were read, and which of them are an explicit null."""
    nulls = sorted(name for name in draft.model_fields_set if getattr(draft, name) is None)
    return IdempotencyKey(key=key, fingerprint=fingerprint([segments, draft.model_dump(mode="json"), nulls]))


def relayed(response: DeviceApiResponse) -> Response:
    """Return the client's response."""
    if not response.content:
        return Response(status_code=response.status, headers=NOT_STORED)
    replayed = response.headers.get("Idempotent-Replayed")
    headers = NOT_STORED if replayed is None else NOT_STORED | {"Idempotent-Replayed": replayed}
    return Response(response.content, response.status, headers, media_type="application/json")
