"""Registrations: auth events on their way from the public service to the private one, and what became of them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contract.auth_events.events import DeviceType
from contract.delivery import BATCH_ITEMS_MAX, BatchResponse, BatchResult, validate_occurred_at
from contract.text import ValidatedText

EventId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# Every member is a string already; asked for its value one by one, a list takes eight times as long to write.
DeviceTypes: TypeAlias = Annotated[list[DeviceType], PlainSerializer(list, return_type=list[str])]

# The last digits of a batch's id that tell its rows apart: room for 65,536.
EVENT_ID_DIGITS = 4


class IdempotencyKey(BaseModel):
    """The client's own identity for what it sends: a repeat with the same body counts nothing."""

    model_config = ConfigDict(frozen=True)

    key: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    body_sha256: Sha256


class Registration(BaseModel):
    """One event on its way to the database.

    The public edge gives `event_id` and `received_at` once; every retry carries them again, so that a repeat
    collides with the fact that is already stored. What a client said stays apart from what the edge added.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    project_id: Annotated[int, Field(ge=1, lt=2**31)]
    event_id: EventId
    received_at: AwareDatetime
    user_key: ValidatedText
    device_type: DeviceType
    # The client's word: a refusal of its value names the field as the client wrote it.
    occurred_at: AwareDatetime | None = Field(default=None, alias="occurredAt")
    identity: IdempotencyKey | None = None

    @field_validator("occurred_at")
    @classmethod
    def _within_the_window(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        received_at = info.data.get("received_at")
        if value is not None and received_at is not None:
            validate_occurred_at(value, received_at)
        return value


class CoalescedRegistrations(BaseModel):
    """Independent events of many clients that share one request: each gets an outcome of its own."""

    registrations: Annotated[list[Registration], Field(min_length=1, max_length=5_000)]
    request_ids: list[str]


class OutcomeStatus(StrEnum):
    """What became of one registration. The last two are the two kinds of 503."""

    REGISTERED = "registered"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    REFUSED = "refused"
    NOT_RECORDED = "not-recorded"
    OUTCOME_UNKNOWN = "outcome-unknown"


class Outcome(BaseModel):
    """The outcome of one registration; `detail` says why when it was not recorded."""

    model_config = ConfigDict(frozen=True)

    status: OutcomeStatus
    detail: str = ""


class IndexedOutcome(Outcome):
    """The outcome of the registration at `index`."""

    index: int = Field(ge=0)


class CoalescedOutcomes(BaseModel):
    """Every registration that was not plainly registered; together with those that were, all of them."""

    registered: int = Field(ge=0)
    others: list[IndexedOutcome]


class ForwardedBatch(BaseModel):
    """One client's batch: one transaction. Columns, because ten thousand rows are read many times faster so.

    What follows from something else does not travel: see `event_id` and `positions`. What the edge already rejected
    rides along: the answer to a keyed batch is stored in that transaction, whole.
    """

    project_id: Annotated[int, Field(ge=1, lt=2**31)]
    batch_id: EventId
    received_at: AwareDatetime
    identity: IdempotencyKey | None = None
    # One entry an event.
    user_keys: Annotated[list[ValidatedText], Field(max_length=BATCH_ITEMS_MAX)]
    device_types: DeviceTypes
    # Only what the client gave, by the position in the columns.
    occurred_at: dict[int, AwareDatetime] = {}
    identities: dict[int, IdempotencyKey] = {}
    rejected: list[BatchResult]

    @model_validator(mode="after")
    def _columns_of_one_length(self) -> Self:
        length = len(self.user_keys)
        if len(self.device_types) != length:
            raise ValueError("must have columns of one length")
        refused = {each.index for each in self.rejected}
        if len(refused) != len(self.rejected) or max(refused, default=-1) >= length + len(refused):
            raise ValueError("must reject items of the batch, each once")
        if any(not 0 <= row < length for row in (*self.occurred_at, *self.identities)):
            raise ValueError("must name rows that are there")
        for value in self.occurred_at.values():
            validate_occurred_at(value, self.received_at)
        return self

    def event_id(self, row: int) -> str:
        """The id that a row has in every retry: the batch's, its last 16 bits replaced by the number of the row.

        The ids of a batch grow, and those of two batches differ in what they keep: `batch_id` is a UUIDv7 whose time,
        counter and first 16 random bits stand before.
        """
        return f"{self.batch_id[:-EVENT_ID_DIGITS]}{row:0{EVENT_ID_DIGITS}x}"

    def positions(self) -> list[int]:
        """The index in the client's batch of every row: the indexes that were not rejected, in order."""
        refused = {each.index for each in self.rejected}
        return [index for index in range(len(self.user_keys) + len(refused)) if index not in refused]

    def row(self, row: int) -> Registration:
        """One event of the batch."""
        return Registration(
            project_id=self.project_id,
            event_id=self.event_id(row),
            received_at=self.received_at,
            user_key=self.user_keys[row],
            device_type=self.device_types[row],
            occurred_at=self.occurred_at.get(row),
            identity=self.identities.get(row),
        )


class ForwardedBatchResponse(BaseModel):
    """The answer to a batch, and whether it is the stored answer to an earlier one."""

    answer: BatchResponse
    replayed: bool = False
