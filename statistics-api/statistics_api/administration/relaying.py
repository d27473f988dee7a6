"""Relays what the private service answered to a change or a creation that a client asked for."""

from fastapi import Response
from pydantic import BaseModel

from contract.administration import Creation
from contract.delivery import IdempotencyKey
from servicekit.http.bodies import fingerprint
from statistics_api.delivery.device_api import DeviceApiResponse

# No cache may keep a key, a token or personal data, and none may show what belongs to one account or project to
# another.
NOT_STORED = {"Cache-Control": "no-store"}


def creation_of(draft: BaseModel, key: str | None, segments: tuple[str, ...]) -> Creation[BaseModel]:
    """Return the message that creates something once for an idempotency key, under this path."""
    if key is None:
        return Creation[BaseModel](draft=draft)
    return Creation[BaseModel](draft=draft, idempotency_key=_identity(key, draft, segments))


def relayed(response: DeviceApiResponse) -> Response:
    """Return the private service's response as the client's own."""
    if not response.content:
        return Response(status_code=response.status, headers=NOT_STORED)
    replayed = response.headers.get("Idempotent-Replayed")
    headers = NOT_STORED if replayed is None else NOT_STORED | {"Idempotent-Replayed": replayed}
    return Response(response.content, response.status, headers, media_type="application/json")


def _identity(key: str, draft: BaseModel, segments: tuple[str, ...]) -> IdempotencyKey:
    """What is compared of a repeat: the fields as they were read, and which of them are an explicit null."""
    nulls = sorted(name for name in draft.model_fields_set if getattr(draft, name) is None)
    return IdempotencyKey(key=key, fingerprint=fingerprint([segments, draft.model_dump(mode="json"), nulls]))
