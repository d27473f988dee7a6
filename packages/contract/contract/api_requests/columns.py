"""API requests in columns, as they travel to the private service."""

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, Self, TypeAlias

from pydantic import Field, StringConstraints, TypeAdapter

from contract.api_requests.addresses import ClientAddress
from contract.api_requests.events import (
    CONSUMER_CHARACTERS_MAX,
    MICROSECONDS,
    URL_PATH_CHARACTERS_MAX,
    USER_AGENT_CHARACTERS_MAX,
    Method,
    StatusCode,
    UrlPath,
    UserAgent,
    rounded_microseconds,
)
from contract.api_requests.latency import RESPONSE_US_MAX
from contract.delivery import EventColumns
from contract.text import READABLE_PATTERN, parsed_once

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

    @classmethod
    def parse(
        cls,
        url_paths: Sequence[Any],
        methods: Sequence[Any],
        status_codes: Sequence[Any],
        milliseconds: Sequence[Any],
        user_agents: Sequence[Any],
    ) -> Self:
        """Return the columns of requests without a consumer and an address, as ApiRequest has each of them.

        Many requests have one path, and one user agent: each is parsed once.

        Raises:
            ValueError: one of the requests is refused; ApiRequest says which, and why.
        """
        return cls._constructed(
            {
                "url_paths": parsed_once(_PATH.validate_python, url_paths),
                "methods": parsed_once(_METHOD.validate_python, methods),
                "status_codes": parsed_once(_STATUS_CODE.validate_python, status_codes),
                "response_us": _parsed_milliseconds(milliseconds),
                "user_agents": parsed_once(_USER_AGENT.validate_python, user_agents),
                "consumers": [None] * len(url_paths),
            }
        )


_PATH: TypeAdapter[str] = TypeAdapter(UrlPath)
_METHOD: TypeAdapter[Method] = TypeAdapter(Method)
_STATUS_CODE: TypeAdapter[int] = TypeAdapter(StatusCode)
_USER_AGENT: TypeAdapter[str | None] = TypeAdapter(UserAgent | None)


def _parsed_milliseconds(values: Sequence[Any]) -> list[int]:
    # The sum is no number if one of the values is none; `min` and `max` would not see it.
    is_valid = {float}.issuperset(map(type, values)) and isfinite(sum(values))
    if not is_valid or min(values) < 0 or max(values) > RESPONSE_US_MAX // MICROSECONDS:
        raise ValueError("must be numbers of milliseconds")
    return list(map(rounded_microseconds, values))
