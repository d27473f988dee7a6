"""The erasure of a person, as its receipt tells it."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

DELETED = "User successfully deleted"
BEING_DELETED = "User is being deleted"


SUPPRESSED = "User successfully suppressed"
UNSUPPRESSED = "User successfully unsuppressed"


class ErasureState(StrEnum):
    """A running erasure goes on by itself."""

    RUNNING = "running"
    FINISHED = "finished"


class ErasureProgress(BaseModel):
    """How far an erasure is. It stays when the person is gone, and has no personal data."""

    state: ErasureState
    users: int = Field(ge=0, description="1 as soon as the user and the user's key are gone.")
    events: int = Field(ge=0, description="How many events and measurements were deleted.")
    requested_at: datetime
    finished_at: datetime | None


class ErasureReceipt(ErasureProgress):
    """The same with its receipt, between the services."""

    receipt: UUID


class DeletedUser(BaseModel):
    """The answer to the deletion of a store's user."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "message": DELETED,
                    "user": DELETED,
                    "events": "12 events were deleted",
                    "receipt": "0d4f2b6e-6c0e-4d58-9a3f-0c9d3a8f7b11",
                }
            ]
        }
    )

    message: str
    user: str
    events: str
    receipt: UUID

    @classmethod
    def of(cls, receipt: ErasureReceipt) -> "DeletedUser":
        """Return the sentences for an erasure as it is now."""
        sentence = DELETED if receipt.state is ErasureState.FINISHED else BEING_DELETED
        return cls(
            message=sentence, user=sentence, events=f"{receipt.events} events were deleted", receipt=receipt.receipt
        )


class DeletedEvents(BaseModel):
    """How many events were deleted, between the services."""

    events: int = Field(ge=0)


class Message(BaseModel):
    """What was done, in a sentence."""

    message: str
