"""What travels from the public service to the private one and back, the same for every kind of event.

A client sends *events*. They travel in an *envelope*: a `Forward` carries single events of many clients, a `Batch` the
events of one client's batch. What became of each event is its *outcome*. A family adds two models of its own: one of
an event (a subclass of `Event`) and one of its columns (a subclass of `EventColumns`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, ClassVar, Generic, Literal, Self, TypeAlias, TypeVar, cast

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from contract.projects import ProjectId
from contract.text import CAMEL_CASE, Instant, ShortText

BATCH_ITEMS_MAX = 10_000
FORWARD_EVENTS_MAX = 5_000

# Minute buckets are kept five days longer than the past reaches, so no accepted event falls behind them.
OCCURRED_PAST_MAX = timedelta(days=30)
OCCURRED_AHEAD_MAX = timedelta(minutes=5)

# The last digits of a batch's id that tell its rows apart: room for 65,536.
EVENT_ID_DIGITS = 4

EventId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Event(BaseModel):
    """One event as a client sends it: what every kind has. A subclass adds its own fields."""

    # Begins what is fingerprinted, so that equal fields of two kinds are two things.
    fingerprint_name: ClassVar[str]

    occurred_at: Instant | None = Field(
        default=None,
        description="When the event happened, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )
    event_id: ShortText | None = Field(
        default=None,
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )

    def idempotency_fields(self) -> tuple[object, ...]:
        """What a repeat is compared by: every field that the client set, and nothing that the server adds."""
        own = (getattr(self, name) for name in type(self).model_fields if name not in Event.model_fields)
        return (self.fingerprint_name, *own, self.occurred_at.isoformat() if self.occurred_at else "")


class IdempotencyKey(BaseModel):
    """The client's own identity for what it sends: a repeat with the same fingerprint is recorded once."""

    model_config = ConfigDict(frozen=True)

    key: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    # Over the validated fields, never over the text that they were sent in.
    fingerprint: Sha256


class EventColumns(BaseModel):
    """The fields of one kind's events in columns: a list with one value an event, or, for a field that few events
    have, a dict from the event's position to its value.

    Columns, because ten thousand events are parsed many times faster so than as ten thousand objects
    (docs/decisions, batches in columns). The first field is a list.
    """

    def __len__(self) -> int:
        """The number of events."""
        first = next(iter(type(self).model_fields))
        return len(getattr(self, first))

    @model_validator(mode="after")
    def _have_one_length(self) -> Self:
        length = len(self)
        for name in type(self).model_fields:
            column = getattr(self, name)
            if isinstance(column, list) and len(column) != length:
                raise ValueError("must have columns of one length")
            if isinstance(column, dict) and not positions_exist(column, length):
                raise ValueError("must name events that are there")
        return self

    def select(self, positions: Sequence[int]) -> Self:
        """The events at `positions`, in that order."""
        chosen: dict[str, object] = {}
        for name in type(self).model_fields:
            column = getattr(self, name)
            chosen[name] = (
                select_sparse(column, positions) if isinstance(column, dict) else [column[i] for i in positions]
            )
        return self._constructed(chosen)

    @classmethod
    def concatenate(cls, parts: "Sequence[Self]") -> Self:
        """The events of all `parts`, one after the other."""
        if len(parts) == 1:
            return parts[0]
        lengths = [len(part) for part in parts]
        joined: dict[str, object] = {}
        for name in cls.model_fields:
            columns = [getattr(part, name) for part in parts]
            if isinstance(columns[0], dict):
                joined[name] = concatenate_sparse(columns, lengths)
            else:
                joined[name] = [value for column in columns for value in column]
        return cls._constructed(joined)

    @classmethod
    def _constructed(cls, columns: Mapping[str, object]) -> Self:
        construct = cast("Callable[..., Self]", cls.model_construct)
        return construct(**columns)  # validated already


Columns = TypeVar("Columns", bound=EventColumns)
Value = TypeVar("Value")


class _Envelope(BaseModel, Generic[Columns]):
    """What a forward and a batch share. Sparse fields hold only what a client gave, by the position of the event."""

    columns: Columns
    occurred_at: dict[int, AwareDatetime] = {}
    keys: dict[int, IdempotencyKey] = {}

    @model_validator(mode="after")
    def _name_events_that_are_there(self) -> Self:
        if not (positions_exist(self.occurred_at, len(self.columns)) and positions_exist(self.keys, len(self.columns))):
            raise ValueError("must name events that are there")
        return self


class Forward(_Envelope[Columns], Generic[Columns]):
    """Independent events of many clients that share one request; each gets an outcome of its own.

    The public edge gives `event_id` and `received_at` once; every retry carries them again, so that a repeat collides
    with the fact that is already stored.
    """

    project_ids: Annotated[list[ProjectId], Field(min_length=1, max_length=FORWARD_EVENTS_MAX)]
    event_ids: list[EventId]
    received_at: list[AwareDatetime]
    # Of the clients' requests, for the log.
    request_ids: list[str] = []

    @model_validator(mode="after")
    def _have_one_length(self) -> Self:
        if not len(self.project_ids) == len(self.event_ids) == len(self.received_at) == len(self.columns):
            raise ValueError("must have columns of one length")
        for position, occurred_at in self.occurred_at.items():
            validate_occurred_at(occurred_at, self.received_at[position])
        return self


class BatchResult(BaseModel):
    """One item of a batch that was not plainly registered."""

    model_config = CAMEL_CASE

    index: int = Field(ge=0, description="Position in the array, or among the non-blank lines; from 0.")
    status: Literal["duplicate", "rejected"]
    detail: str


class BatchResponse(BaseModel):
    """registered + duplicate + rejected is the number of items sent."""

    model_config = CAMEL_CASE

    registered: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    rejected: int = Field(ge=0)
    results: list[BatchResult]


class Batch(_Envelope[Columns], Generic[Columns]):
    """One client's batch: one transaction.

    What follows from something else does not travel: see `event_id` and `indexes`. What the edge already rejected
    rides along: the response to a keyed batch is stored in that transaction, whole.
    """

    project_id: ProjectId
    batch_id: EventId
    received_at: AwareDatetime
    # The batch's own; its events may have keys, too.
    key: IdempotencyKey | None = None
    rejected: list[BatchResult] = []

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        length = len(self.columns)
        refused = {each.index for each in self.rejected}
        if length + len(refused) > BATCH_ITEMS_MAX:
            raise ValueError("must not have more items than a batch may")
        if len(refused) != len(self.rejected) or max(refused, default=-1) >= length + len(refused):
            raise ValueError("must reject items of the batch, each once")
        for occurred_at in self.occurred_at.values():
            validate_occurred_at(occurred_at, self.received_at)
        return self

    def event_id(self, position: int) -> str:
        """The id that an event has in every retry: the batch's, its last 16 bits replaced by the event's position.

        The ids of a batch grow, and those of two batches differ in what they keep: `batch_id` is a UUIDv7 whose time,
        counter and first 16 random bits stand before.
        """
        return f"{self.batch_id[:-EVENT_ID_DIGITS]}{position:0{EVENT_ID_DIGITS}x}"

    def indexes(self) -> list[int]:
        """The index in the client's batch of every event: the indexes that were not rejected, in order."""
        refused = {each.index for each in self.rejected}
        return [index for index in range(len(self.columns) + len(refused)) if index not in refused]


class OutcomeStatus(StrEnum):
    """What became of one event. The last two are the two kinds of 503."""

    RECORDED = "recorded"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    ERASED = "erased"
    REFUSED = "refused"
    NOT_RECORDED = "not-recorded"
    OUTCOME_UNKNOWN = "outcome-unknown"


class Outcome(BaseModel):
    """The outcome of one event; `detail` says why when it was not recorded.

    `row` is what is stored, for a kind whose clients get it back: of a new event and of a replay alike.
    """

    model_config = ConfigDict(frozen=True)

    status: OutcomeStatus
    detail: str = ""
    row: JsonValue = None


class PositionedOutcome(Outcome):
    """The outcome of the event at `position`."""

    position: int = Field(ge=0)


class ForwardResponse(BaseModel):
    """Every outcome that is more than plainly recorded; together with those that are, one for each event."""

    recorded: int = Field(ge=0)
    exceptions: list[PositionedOutcome] = []


class ForwardedBatchResponse(BaseModel):
    """The response to a batch, and whether it is the stored response to an earlier one."""

    response: BatchResponse
    replayed: bool = False


def validate_occurred_at(occurred_at: datetime, received_at: datetime) -> None:
    """Check that an event may have happened then.

    Raises:
        ValueError: too long ago, or in the future.
    """
    # Differences: unlike sums, they exist for every two times that can be written.
    if received_at - occurred_at > OCCURRED_PAST_MAX:
        message = f"must not be more than {OCCURRED_PAST_MAX.days} days ago"
        raise ValueError(message)
    if occurred_at - received_at > OCCURRED_AHEAD_MAX:
        message = f"must not be more than {OCCURRED_AHEAD_MAX.seconds // 60} minutes in the future"
        raise ValueError(message)


def positions_exist(sparse: Mapping[int, object], length: int) -> bool:
    """Whether each key of a sparse column is the position of one of `length` events."""
    return not sparse or (min(sparse) >= 0 and max(sparse) < length)


def select_sparse(sparse: Mapping[int, Value], positions: Sequence[int]) -> dict[int, Value]:
    """A sparse column of the events at `positions`, by their new positions."""
    if not sparse:
        return {}
    return {new: sparse[old] for new, old in enumerate(positions) if old in sparse}


def concatenate_sparse(parts: Sequence[Mapping[int, Value]], lengths: Sequence[int]) -> dict[int, Value]:
    """One sparse column of several; `lengths` are the numbers of events of the parts."""
    offsets = accumulate(lengths, initial=0)
    return {
        offset + position: value
        for part, offset in zip(parts, offsets, strict=False)
        for position, value in part.items()
    }
