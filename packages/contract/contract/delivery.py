"""The messages between the public and the private service, the same for every kind of event.

A client sends *events*. They travel in an *envelope*: a `Forward` carries single events of many clients, a `Batch`
carries the events of one client's batch. The result for each event is its *outcome*. A family adds two models: one of
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
    StringConstraints,
    model_validator,
)

from contract.projects import ProjectId
from contract.text import CAMEL_CASE, Instant, ShortText

BATCH_ITEMS_MAX = 10_000
FORWARD_EVENTS_MAX = 5_000
# The content type of a ForwardResponse with rows, which is the first line; the rows follow.
LINES_TYPE = "application/x-ndjson"
NO_ROW = "null"
DROPPED_MAX = 1_000_000_000

# Minute buckets are kept five days longer than this, so every accepted event is in the time that they cover.
OCCURRED_PAST_MAX = timedelta(days=30)
OCCURRED_AHEAD_MAX = timedelta(minutes=5)

# The number of last digits of an event's id that number the rows of a batch: enough for 65,536 rows.
EVENT_ID_DIGITS = 4

EventId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Event(BaseModel):
    """One event as a client sends it, with the fields of every kind. A subclass adds its own fields."""

    # The first value of the fingerprint, so that equal fields of two kinds have different fingerprints.
    fingerprint_name: ClassVar[str]
    # Fields that no trace may be left of: a repeat is not compared by them.
    not_compared: ClassVar[frozenset[str]] = frozenset()

    occurred_at: Instant | None = Field(
        default=None,
        description="When the event happened, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )
    event_id: ShortText | None = Field(
        default=None,
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )

    def idempotency_fields(self) -> tuple[object, ...]:
        """Return the fields that a repeat is compared by: those that the client set, without those of the server."""
        own = (
            getattr(self, name)
            for name in type(self).model_fields
            if name not in Event.model_fields and name not in self.not_compared
        )
        return (self.fingerprint_name, *own, self.occurred_at.isoformat() if self.occurred_at else "")

    def key_beside(self, header_key: str | None) -> str | None:
        """Return the event's key: the one that the header of its request gave, or its own `event_id`.

        Raises:
            ValueError: both are given, and they differ.
        """
        if header_key is not None and self.event_id is not None and header_key != self.event_id:
            raise ValueError("must equal the header Idempotency-Key where both are sent")
        return self.event_id if header_key is None else header_key


class IdempotencyKey(BaseModel):
    """A client's idempotency key: a repeat with the same key and the same fingerprint is recorded once."""

    model_config = ConfigDict(frozen=True)

    key: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    # A digest of the validated fields, never of the text of the request.
    fingerprint: Sha256


class EventColumns(BaseModel):
    """The fields of one kind's events in columns. A column is a list with one value for each event or, for a field that
    few events have, a dict from the event's position to its value.

    Ten thousand events in columns are parsed many times faster than ten thousand objects (docs/decisions, batches in
    columns). The first field is a list.
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
    """The common fields of a forward and a batch. Sparse fields map the position of an event to a client's value."""

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

    The public service sets `event_id` and `received_at` once. Every retry has the same values, so that it conflicts
    with the fact that is stored already.
    """

    project_ids: Annotated[list[ProjectId], Field(min_length=1, max_length=FORWARD_EVENTS_MAX)]
    event_ids: list[EventId]
    received_at: list[AwareDatetime]
    # The ids of the clients' requests, for the log.
    request_ids: list[str] = []
    # The positions of the events whose clients agreed that they are counted later: they may be put into the inbox.
    deferrable: list[int] = []

    def select(self, positions: Sequence[int]) -> Self:
        """The events at `positions`, in that order, without what is not about single events."""
        construct = cast("Callable[..., Self]", self.model_construct)
        return construct(
            columns=self.columns.select(positions),
            project_ids=[self.project_ids[position] for position in positions],
            event_ids=[self.event_ids[position] for position in positions],
            received_at=[self.received_at[position] for position in positions],
            occurred_at=select_sparse(self.occurred_at, positions),
            keys=select_sparse(self.keys, positions),
        )

    @model_validator(mode="after")
    def _have_one_length(self) -> Self:
        if not len(self.project_ids) == len(self.event_ids) == len(self.received_at) == len(self.columns):
            raise ValueError("must have columns of one length")
        if not positions_exist(dict.fromkeys(self.deferrable), len(self.columns)):
            raise ValueError("must name events that are there")
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
    """The numbers of items: registered + duplicate + rejected is the number of items that were sent."""

    model_config = CAMEL_CASE

    registered: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    rejected: int = Field(ge=0)
    results: list[BatchResult]


class Batch(_Envelope[Columns], Generic[Columns]):
    """One client's batch: one transaction.

    Values that can be computed are not sent: see `event_id` and `indexes`. The items that the public service rejected
    are sent, because the transaction stores the complete response to a batch with a key.
    """

    project_id: ProjectId
    batch_id: EventId
    received_at: AwareDatetime
    # The key of the batch itself; its events may have keys, too.
    key: IdempotencyKey | None = None
    rejected: list[BatchResult] = []
    # How many events the client dropped before them.
    dropped: int = Field(default=0, ge=0, le=DROPPED_MAX)
    # Whether the client agreed that its events are counted later: the batch may be put into the inbox.
    deferrable: bool = False

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
        """Return the id of an event, which is the same in every retry: `batch_id` with the event's position in the
        last 16 bits.

        The ids within a batch grow. The ids of two batches differ in the other bits, because `batch_id` is a UUIDv7:
        these bits are its time, its counter and its first 16 random bits.
        """
        return f"{self.batch_id[:-EVENT_ID_DIGITS]}{position:0{EVENT_ID_DIGITS}x}"

    def indexes(self) -> list[int]:
        """Return the index of every event in the client's batch: the indexes that were not rejected, in order."""
        refused = {each.index for each in self.rejected}
        return [index for index in range(len(self.columns) + len(refused)) if index not in refused]


class OutcomeStatus(StrEnum):
    """The status of one event. The last two are the two kinds of 503; the one before them is an event in the inbox."""

    RECORDED = "recorded"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    ERASED = "erased"
    REFUSED = "refused"
    # Something that the event names is not there, or nothing may be recorded of it.
    NOT_FOUND = "not-found"
    SUPPRESSED = "suppressed"
    ACCEPTED = "accepted-not-counted"
    NOT_RECORDED = "not-recorded"
    OUTCOME_UNKNOWN = "outcome-unknown"


class Outcome(BaseModel):
    """The outcome of one event; `detail` is the reason why it was not recorded."""

    model_config = ConfigDict(frozen=True)

    status: OutcomeStatus
    detail: str = ""


class PositionedOutcome(Outcome):
    """The outcome of the event at `position`."""

    position: int = Field(ge=0)


class ForwardResponse(BaseModel):
    """The number of plainly recorded events, and the outcomes of all other events.

    If a kind returns stored rows to its clients, a line with a row follows for each event: for a replay the row of the
    first request, and `null` for an event that is not stored. So nobody between the database and the client parses it.
    """

    recorded: int = Field(ge=0)
    exceptions: list[PositionedOutcome] = []


class ForwardedBatchResponse(BaseModel):
    """The response to a batch, and whether it is the stored response to an earlier one."""

    response: BatchResponse
    replayed: bool = False


class AcceptedNotCounted(BaseModel):
    """The response, with status 202, to an event or a batch that is in the inbox: stored, and counted later."""

    code: Literal["accepted-not-counted"] = "accepted-not-counted"


class BatchAcceptedNotCounted(AcceptedNotCounted):
    """The same to a batch of which some items were rejected: these are not in the inbox."""

    rejected: int = Field(ge=1)
    results: list[BatchResult]


def validate_occurred_at(occurred_at: datetime, received_at: datetime) -> None:
    """Check that an event may have happened then.

    Raises:
        ValueError: too long ago, or in the future.
    """
    # Differences are compared, because a sum could be out of the range of a datetime.
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
    """Return the sparse column of the events at `positions`, with their new positions."""
    if not sparse:
        return {}
    return {new: sparse[old] for new, old in enumerate(positions) if old in sparse}


def concatenate_sparse(parts: Sequence[Mapping[int, Value]], lengths: Sequence[int]) -> dict[int, Value]:
    """Join several sparse columns into one; `lengths` are the numbers of events of the parts."""
    offsets = accumulate(lengths, initial=0)
    return {
        offset + position: value
        for part, offset in zip(parts, offsets, strict=False)
        for position, value in part.items()
    }
