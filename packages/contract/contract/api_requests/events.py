"""API requests (family 3): one request that a client's own API answered."""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema

from contract.api_requests.addresses import ClientAddress
from contract.api_requests.latency import RESPONSE_US_MAX
from contract.delivery import Event
from contract.text import Instant, ShortText, readable

URL_PATH_CHARACTERS_MAX = 2048
USER_AGENT_CHARACTERS_MAX = 512
CONSUMER_CHARACTERS_MAX = 128
STATUS_CODE_MIN = 100
STATUS_CODE_MAX = 599
MICROSECONDS = 1_000  # in a millisecond
# How near to a half a product of floats may be for its rounding to be sure; its error is below 10^-6.
_SURE = 1e-5
# Nothing is cut from such a path.
WHOLE_PATH = re.compile(r"/(?:[^?#]*[^?#/\s])?")

Method: TypeAlias = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
StatusCode: TypeAlias = Annotated[int, Field(ge=STATUS_CODE_MIN, le=STATUS_CODE_MAX, strict=True)]


def _path_alone(value: str) -> str:
    """Cut the query string, the fragment and slashes at the end: what is left names an endpoint."""
    if WHOLE_PATH.fullmatch(value):
        path = value
    else:
        path = re.split(r"[?#]", value, maxsplit=1)[0].rstrip()
        path = path.rstrip("/") or path[:1]
    if not path.startswith("/"):
        message = "must begin with /"
        raise ValueError(message)
    if len(path) > URL_PATH_CHARACTERS_MAX:
        message = f"must have at most {URL_PATH_CHARACTERS_MAX} characters before the query string"
        raise ValueError(message)
    return path


def microseconds(value: Any) -> int:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Return milliseconds as whole microseconds, rounded half to even from the decimal text of the number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        message = "must be a number of milliseconds"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    if not 0 <= value <= RESPONSE_US_MAX // MICROSECONDS:
        message = f"must be from 0 to {RESPONSE_US_MAX // MICROSECONDS} milliseconds"
        raise ValueError(message)
    return rounded_microseconds(value)


def rounded_microseconds(milliseconds: float) -> int:
    """Return a valid number of milliseconds as whole microseconds, without the decimal text where it is not needed."""
    product = milliseconds * MICROSECONDS
    rounded = round(product)
    if abs(abs(product - rounded) - 0.5) > _SURE:
        return rounded
    return int((Decimal(repr(milliseconds)) * MICROSECONDS).to_integral_value(ROUND_HALF_EVEN))


UrlPath: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(readable),
    AfterValidator(_path_alone),
    WithJsonSchema({"type": "string", "minLength": 1, "pattern": "^/"}),
]
ResponseTime: TypeAlias = Annotated[
    int,
    BeforeValidator(microseconds),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": RESPONSE_US_MAX // MICROSECONDS}),
]
UserAgent: TypeAlias = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    AfterValidator(readable),
    AfterValidator(lambda value: value[:USER_AGENT_CHARACTERS_MAX].rstrip()),
]


class ApiRequest(Event):
    """One request, as a client sends it. Family 3 calls the time when it happened `timestamp`."""

    model_config = ConfigDict(
        frozen=True,
        json_schema_extra={
            "examples": [
                {"url_path": "/orders/{id}", "method": "GET", "response_status_code": 200, "response_time_ms": 12.5}
            ]
        },
    )
    fingerprint_name: ClassVar = "api-request"
    # The fingerprint is stored, and who has it and the rest of the event could try every address.
    not_compared: ClassVar = frozenset({"ip"})

    url_path: UrlPath = Field(
        description="The template of the route, like /orders/{id}. A query string, a fragment and slashes at the end "
        f"are cut; what is left has at most {URL_PATH_CHARACTERS_MAX} characters."
    )
    method: Method
    response_status_code: StatusCode
    response_us: ResponseTime = Field(
        alias="response_time_ms", description="Milliseconds; kept to the microsecond, rounded half to even."
    )
    user_agent: UserAgent | None = Field(default=None, description=f"Cut after {USER_AGENT_CHARACTERS_MAX} characters.")
    consumer: Annotated[ShortText, StringConstraints(max_length=CONSUMER_CHARACTERS_MAX)] | None = Field(
        default=None, description="Who called the API, in the client's own words; not a person's name or address."
    )
    ip: ClientAddress | None = Field(
        default=None,
        description="The address that the request came from. It is hashed with a key that is forgotten after 48 hours, "
        "and stored nowhere.",
    )
    occurred_at: Instant | None = Field(
        default=None,
        alias="timestamp",
        description="When the request was answered, if not now: up to 30 days ago, at most 5 minutes ahead.",
    )
    event_id: ShortText | None = Field(
        default=None,
        alias="eventId",
        description="The client's own identity for this event. A repeat within 48 hours counts nothing.",
    )
