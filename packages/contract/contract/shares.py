"""Shares: links that show one view of a project to everybody who has them, and nothing else."""

import secrets
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Self, TypeAlias
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.devices import DeviceId
from contract.text import Instant

SHARES_MAX = 100
ANCESTORS_MAX = 10
TOKEN_PREFIX = "ds_share_"  # noqa: S105 - the beginning of each, and no secret
_SECRET_BYTES = 16
_SECRET_CHARACTERS = 22  # of base64url
TOKEN_PATTERN = f"{TOKEN_PREFIX}[A-Za-z0-9_-]{{{_SECRET_CHARACTERS}}}"
# The page of a share is below this path.
PAGE_PREFIX = "/shared/"


class View(StrEnum):
    """What a share shows: figures alone, and never a row, a user or a device that it does not name."""

    AUTH_EVENTS = "auth_events"
    REQUESTS = "requests"
    STORE_EVENTS = "store_events"
    DEVICE = "device"


# An origin that may embed the page: it becomes a part of a header, so nothing else is accepted.
Ancestor: TypeAlias = Annotated[
    str, Field(max_length=255, pattern=r"^https?://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::[0-9]{1,5})?$")
]


class ShareDraft(BaseModel):
    """A new share."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [{"view": "requests", "frame_ancestors": ["https://status.example.com"]}]},
    )

    view: View
    device_id: DeviceId | None = Field(default=None, description="Of the view `device` alone, which needs it.")
    range: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:+/-]{1,64}$")] | None = Field(
        default=None, description="What the page shows at first, as its address says it. It limits nothing."
    )
    expires_at: Instant | None = Field(default=None, description="null: it is valid until it is deleted.")
    frame_ancestors: Annotated[list[Ancestor], Field(max_length=ANCESTORS_MAX)] = Field(
        default=[], description="The origins whose pages may embed it."
    )

    @model_validator(mode="after")
    def _names_a_device(self) -> Self:
        if (self.device_id is not None) != (self.view is View.DEVICE):
            raise ValueError("the view device needs a device_id, and no other view has one")
        return self


class Share(BaseModel):
    """A share without its token."""

    id: UUID
    view: View
    device_id: str | None
    range: str | None
    frame_ancestors: list[str]
    created_at: datetime
    expires_at: datetime | None


class ShareWithToken(Share):
    """A share that was just made, with its token and the path of its page. A repeat with the same key has nulls."""

    token: str | None
    path: str | None
    warning: str


class Shown(BaseModel):
    """What a token of a share may show."""

    project_key: str
    project_name: str
    timezone: str
    view: View
    device_id: str | None
    range: str | None
    frame_ancestors: list[str]
    expires_at: datetime | None
    figures: list[str] = Field(description="The paths, below this server, that the token may read.")


def new_token() -> str:
    """Return the text of a new token, with 128 random bits."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def token_digest(token: str) -> bytes:
    """Return what is stored of a token: with so many random bits, nothing slower than SHA-256 is needed."""
    return sha256(token.encode("utf-8", "surrogatepass")).digest()
