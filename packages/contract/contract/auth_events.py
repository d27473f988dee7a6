"""Auth events (family 1): one sign-in of one user on one kind of device."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from contract.text import CAMEL_CASE, AcceptedText, Instant, ShortText

BATCH_ITEMS_MAX = 10_000

# Minute buckets are kept five days longer than the past reaches, so no accepted event falls behind them.
OCCURRED_PAST_MAX = timedelta(days=30)
OCCURRED_AHEAD_MAX = timedelta(minutes=5)

DEFAULT_PROJECT_ID = 1  # `/Log/*` without a key writes to it and reads from it


class DeviceType(StrEnum):
    """The kinds of device, exact case. The database has the same list as an enum, and a test compares them."""

    ANDROID = "Android"
    TV = "TV"
    WATCH = "Watch"
    IOS = "iOS"


class AuthEvent(BaseModel):
    """One sign-in, as a client sends it."""

    model_config = CAMEL_CASE | ConfigDict(
        json_schema_extra={"examples": [{"userKey": "user-123", "deviceType": "iOS"}]}
    )

    user_key: ShortText = Field(
        description="A pseudonym that the client chooses for the user; not an e-mail address or a name."
    )
    device_type: DeviceType
    occurred_at: Instant | None = Field(
        default=None,
        description="When the sign-in happened, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )

    def said(self) -> tuple[str, ...]:
        """What a repeat is compared by: all that the client said, and nothing that the server adds."""
        return ("auth-event", self.user_key, self.device_type, self.occurred_at.isoformat() if self.occurred_at else "")


class AuthEventItem(AuthEvent):
    """One sign-in of a batch; `eventId` makes repeating this item exact."""

    event_id: ShortText | None = Field(
        default=None,
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )


class Registered(BaseModel):
    """The document's answer to a recorded event: sent after COMMIT, never before."""

    model_config = CAMEL_CASE

    status_code: Literal[200] = 200
    message: Literal["Device registered successfully"] = "Device registered successfully"


class BatchResult(BaseModel):
    """One item of a batch that was not plainly registered."""

    model_config = CAMEL_CASE

    index: int = Field(ge=0, description="Position in the array, or among the non-blank lines; from 0.")
    status: Literal["duplicate", "rejected"]
    detail: str


class BatchAnswer(BaseModel):
    """registered + duplicate + rejected is the number of items sent."""

    model_config = CAMEL_CASE

    registered: int = Field(ge=0)
    duplicate: int = Field(ge=0)
    rejected: int = Field(ge=0)
    results: list[BatchResult]


class DeviceTypeCount(BaseModel):
    """How many events of one device type were ever recorded."""

    model_config = CAMEL_CASE | ConfigDict(json_schema_extra={"examples": [{"deviceType": "iOS", "count": 2}]})

    device_type: DeviceType
    count: int = Field(ge=0)


class Statistics(BaseModel):
    """The counts of all device types, in alphabetical order."""

    statistics: list[DeviceTypeCount]
    total: int = Field(ge=0)


# The width of a time bucket. Days and months follow the calendar of the chosen time zone.
Interval: TypeAlias = Literal["minute", "hour", "day", "month"]


class Point(BaseModel):
    """The events of one bucket, which begins at `start` and ends where the next one begins."""

    start: AwareDatetime
    count: int = Field(ge=0)


class Series(BaseModel):
    """One device type over time, without gaps."""

    model_config = CAMEL_CASE

    device_type: DeviceType
    points: list[Point]


class TimeSeries(BaseModel):
    """`from` and `to` are the asked range [from, to), aligned outwards to whole buckets."""

    interval: Interval
    timezone: str
    from_: AwareDatetime = Field(alias="from")
    to: AwareDatetime
    series: list[Series]


# --- Between the services -------------------------------------------------------------------------------------

EventId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Identity(BaseModel):
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
    user_key: AcceptedText
    device_type: DeviceType
    # The client's word: a refusal of its value names the field as the client wrote it.
    occurred_at: AwareDatetime | None = Field(default=None, alias="occurredAt")
    identity: Identity | None = None

    @field_validator("occurred_at")
    @classmethod
    def _within_the_window(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        received_at = info.data.get("received_at")
        if value is not None and received_at is not None:
            check_window(value, received_at)
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


class BatchForward(BaseModel):
    """One client's batch: one transaction. Columns, because ten thousand rows are read many times faster so.

    What the edge already rejected rides along: the answer to a keyed batch is stored in that transaction, whole.
    """

    project_id: Annotated[int, Field(ge=1, lt=2**31)]
    batch_id: EventId
    received_at: AwareDatetime
    identity: Identity | None = None
    # One entry an event; `indexes` are their positions in the client's batch.
    indexes: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=BATCH_ITEMS_MAX)]
    event_ids: list[EventId]
    user_keys: list[AcceptedText]
    device_types: list[DeviceType]
    # Only what the client gave, by the position in the columns.
    occurred_at: dict[int, AwareDatetime] = {}
    identities: dict[int, Identity] = {}
    rejected: list[BatchResult]

    @model_validator(mode="after")
    def _columns_of_one_length(self) -> Self:
        length = len(self.indexes)
        if not (len(self.event_ids) == len(self.user_keys) == len(self.device_types) == length):
            raise ValueError("must have columns of one length")
        if any(not 0 <= row < length for row in (*self.occurred_at, *self.identities)):
            raise ValueError("must name rows that are there")
        for value in self.occurred_at.values():
            check_window(value, self.received_at)
        return self

    def row(self, row: int) -> Registration:
        """One event of the batch."""
        return Registration(
            project_id=self.project_id,
            event_id=self.event_ids[row],
            received_at=self.received_at,
            user_key=self.user_keys[row],
            device_type=self.device_types[row],
            occurred_at=self.occurred_at.get(row),
            identity=self.identities.get(row),
        )


class BatchReply(BaseModel):
    """The answer to a batch, and whether it is the stored answer to an earlier one."""

    answer: BatchAnswer
    replayed: bool = False


def check_window(occurred_at: datetime, received_at: datetime) -> None:
    """Whether an event may have happened then.

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


def unknown_device_type(error: ValidationError) -> str | None:
    """The document's sentence, if an unknown device type is all that is wrong with an event.

    The document answers 400 to that and 422 to anything else; when both are wrong, 422 wins.
    """
    first, *others = error.errors(include_url=False)
    if others or first["loc"] != ("deviceType",) or first["type"] != "enum" or not isinstance(first["input"], str):
        return None
    return invalid_device_type(first["input"])


def invalid_device_type(value: str) -> str:
    """The document's sentence."""
    allowed = sorted(str(device_type) for device_type in DeviceType)
    return f"Invalid deviceType {value!r}. Allowed values: {allowed}"
