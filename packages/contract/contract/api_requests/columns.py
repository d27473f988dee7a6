"""API requests in columns, as they travel to the private service."""

from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints

from contract.api_requests.addresses import ClientAddress
from contract.api_requests.events import (
    CONSUMER_CHARACTERS_MAX,
    URL_PATH_CHARACTERS_MAX,
    USER_AGENT_CHARACTERS_MAX,
    Method,
    StatusCode,
)
from contract.api_requests.latency import RESPONSE_US_MAX
from contract.delivery import EventColumns
from contract.text import READABLE_PATTERN

_Path: TypeAlias = Annotated[str, StringConstraints(max_length=URL_PATH_CHARACTERS_MAX, pattern=READABLE_PATTERN)]
_UserAgent: TypeAlias = Annotated[
    str, StringConstraints(max_length=USER_AGENT_CHARACTERS_MAX, pattern=READABLE_PATTERN)
]
_Consumer: TypeAlias = Annotated[str, StringConstraints(max_length=CONSUMER_CHARACTERS_MAX, pattern=READABLE_PATTERN)]


class ApiRequestColumns(EventColumns):
    """The fields of API requests, one value an event; None where the client sent none. Times are in microseconds."""

    url_paths: list[_Path]
    methods: list[Method]
    status_codes: list[StatusCode]
    response_us: list[Annotated[int, Field(ge=0, le=RESPONSE_US_MAX, strict=True)]]
    user_agents: list[_UserAgent | None]
    consumers: list[_Consumer | None]
    ips: dict[int, ClientAddress] = Field(default_factory=dict)
