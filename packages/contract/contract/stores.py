"""Stores: a store is a project, as an operator of the installation sees it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contract.projects import ProjectId, ProjectName, Timezone


class StoreDraft(BaseModel):
    """The fields of a new store."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"name": "Corner shop", "timezone": "Europe/Berlin"}]}
    )

    name: ProjectName
    is_active: Annotated[bool, Field(strict=True)] = True
    timezone: Timezone = Field(default="UTC", description="An IANA time zone, which decides what a day is.")


class Store(BaseModel):
    """A store; `is_active` is false for one that is blocked."""

    id: int = Field(examples=[2])
    name: str = Field(examples=["Corner shop"])
    is_active: bool


class StoreWithKey(Store):
    """A store that was just made. The repeat of a request with the same idempotency key has null: nothing stores it."""

    api_key: str | None = Field(repr=False, description="It is shown once, may do everything, and never expires.")


class StoreChoice(BaseModel):
    """Which store is blocked or unblocked."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"store_id": 1_000_000}]})

    store_id: Annotated[ProjectId, Field(strict=True)]


class StoreState(BaseModel):
    """Whether a store is active, between the services."""

    is_active: Annotated[bool, Field(strict=True)]


class StoreMessage(BaseModel):
    """What was done."""

    message: str = Field(examples=["Store successfully blocked"])


class DeletedStore(BaseModel):
    """How many users and events a store had when it was deleted, in the words of family 4."""

    users: str = Field(examples=["3 users were deleted"])
    events: str = Field(examples=["120 events were deleted"])
