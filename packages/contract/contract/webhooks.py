"""Webhooks: what a project is told when a figure crosses a threshold, or when something falls silent."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self, TypeAlias
from uuid import UUID

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from contract.auth_events.events import DeviceType
from contract.devices import DeviceId
from contract.projects import Description, ProjectName, not_null
from contract.store_events.events import TypeName

URL_CHARACTERS_MAX = 2_048
WEBHOOKS_MAX = 20
RULES_MAX = 20
WINDOW_MINUTES_MAX = 1_440
# Values of measurements are counted by the quarter of an hour.
MEASUREMENT_MINUTES = 15
DELIVERIES_MAX = 100
_URL: TypeAdapter[AnyHttpUrl] = TypeAdapter(AnyHttpUrl)


def _url(text: str) -> str:
    """Return the address in its usual form, with a host name in ASCII. Raises ValueError."""
    try:
        url = _URL.validate_python(text)
    except ValidationError:
        message = "must be an address that begins with http:// or https://"
        raise ValueError(message) from None
    if url.username is not None or url.password is not None:
        message = "must not have a user name or a password: receivers check the signature"
        raise ValueError(message)
    if url.fragment is not None:
        message = "must not have a fragment, which is never sent"
        raise ValueError(message)
    return str(url)


WebhookUrl: TypeAlias = Annotated[
    str,
    # No "format": "uri", which allows ASCII alone: a host name may have any letters.
    Field(max_length=URL_CHARACTERS_MAX, pattern="^https?://"),
    AfterValidator(_url),
]


class Figure(StrEnum):
    """What a rule looks at. Rates are in percent, times in milliseconds."""

    AUTH_EVENTS = "auth_events"
    REQUESTS = "requests"
    ERROR_RATE = "error_rate"
    P50_MS = "p50_ms"
    P95_MS = "p95_ms"
    P99_MS = "p99_ms"
    STORE_EVENTS = "store_events"
    MEASUREMENTS = "measurements"
    X_MIN = "x_min"
    X_MAX = "x_max"
    X_MEAN = "x_mean"
    Y_MIN = "y_min"
    Y_MAX = "y_max"
    Y_MEAN = "y_mean"
    Z_MIN = "z_min"
    Z_MAX = "z_max"
    Z_MEAN = "z_mean"


class Condition(StrEnum):
    """How a figure is compared; `silent` has no threshold, and means that nothing arrived."""

    ABOVE = "above"
    BELOW = "below"
    SILENT = "silent"


COUNTS = frozenset({Figure.AUTH_EVENTS, Figure.REQUESTS, Figure.STORE_EVENTS, Figure.MEASUREMENTS})
OF_DEVICES = frozenset({Figure.MEASUREMENTS, *(each for each in Figure if each[:2] in {"x_", "y_", "z_"})})


_RULE_EXAMPLE: dict[str, JsonValue] = {
    "name": "many errors",
    "figure": "error_rate",
    "condition": "above",
    "threshold": 5,
    "window_minutes": 10,
}


class RuleDraft(BaseModel):
    """When a webhook is told of a figure: it is looked at once a minute, over the last `window_minutes`."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [_RULE_EXAMPLE]})

    name: ProjectName
    figure: Figure
    condition: Condition
    threshold: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    window_minutes: Annotated[int, Field(strict=True, ge=1, le=WINDOW_MINUTES_MAX)]
    device_type: DeviceType | None = Field(default=None, description="Of `auth_events` alone; null: of all.")
    event_type: TypeName | None = Field(default=None, description="Of `store_events` alone; null: of all.")
    device_id: DeviceId | None = Field(default=None, description="Of measurements, which need it.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.condition is Condition.SILENT) != (self.threshold is None):
            raise ValueError("`above` and `below` need a threshold, and `silent` has none")
        if self.condition is Condition.SILENT and self.figure not in COUNTS:
            raise ValueError(f"only {', '.join(sorted(COUNTS))} can be silent")
        if self.device_type is not None and self.figure is not Figure.AUTH_EVENTS:
            raise ValueError("only auth_events have a device_type")
        if self.event_type is not None and self.figure is not Figure.STORE_EVENTS:
            raise ValueError("only store_events have an event_type")
        if (self.device_id is not None) != (self.figure in OF_DEVICES):
            raise ValueError("figures of measurements need a device_id, and no other figure has one")
        is_by_quarter = self.figure in OF_DEVICES and self.condition is not Condition.SILENT
        if is_by_quarter and self.window_minutes % MEASUREMENT_MINUTES:
            raise ValueError(f"window_minutes must be a multiple of {MEASUREMENT_MINUTES} for measurements")
        return self


class Rule(RuleDraft):
    """A rule, and what it is now: `is_holding` since the time of the last change; `value` as it was looked at last."""

    id: UUID
    created_at: datetime
    is_holding: bool
    changed_at: datetime | None
    value: float | None
    evaluated_to: datetime | None


class WebhookDraft(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={"examples": [{"url": "https://hooks.example.com/statistics", "rules": [_RULE_EXAMPLE]}]},
    )

    url: WebhookUrl
    description: Description | None = None
    rules: Annotated[list[RuleDraft], Field(max_length=RULES_MAX)] = []


class WebhookChange(BaseModel):
    """The fields of a webhook that change. A field that is absent stays; null clears the description."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"is_active": False}]})

    url: WebhookUrl | None = None
    description: Description | None = None
    is_active: Annotated[bool, Field(strict=True)] | None = None

    @field_validator("url", "is_active", mode="before")
    @classmethod
    def _not_null(cls, value: Any) -> Any:  # noqa: ANN401 - whatever the client sent
        return not_null(value)


class Webhook(BaseModel):
    """A webhook without its secret; of its `pending` deliveries, the first is attempted at `next_attempt_at`."""

    id: UUID
    url: str
    description: str | None
    is_active: bool
    created_at: datetime
    pending: int
    next_attempt_at: datetime | None
    rules: list[Rule]


class WebhookWithSecret(Webhook):
    """A webhook with a new secret. The repeat of a request with the same idempotency key has null."""

    secret: str | None
    warning: str


class DeliveryState(StrEnum):
    """What came of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Attempt(BaseModel):
    """One request to the receiver: its status, or why there is none."""

    at: datetime
    duration_ms: int
    status: int | None
    error: str | None


class Delivery(BaseModel):
    """A message to a receiver; its `id` is the header `webhook-id` of every attempt.

    Messages of a webhook have sequence numbers from 1, and are attempted in this order. `next_attempt_at` is null for
    one that waits for an earlier one, and for one that is not pending.
    """

    id: UUID
    sequence: int
    type: str
    rule_id: UUID | None
    state: DeliveryState
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
    attempt_count: int
    attempts: list[Attempt] = Field(description="The newest 100.")
    payload: str = Field(description="The body, as it is signed and sent.")
