"""The properties of API requests that `statistics_api.delivery` needs."""

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Any, get_args

from contract.api_requests.columns import ApiRequestColumns
from contract.api_requests.events import (
    CONSUMER_CHARACTERS_MAX,
    MICROSECONDS,
    STATUS_CODE_MAX,
    STATUS_CODE_MIN,
    WHOLE_PATH,
    ApiRequest,
    Method,
    rounded_microseconds,
)
from contract.api_requests.latency import RESPONSE_US_MAX
from contract.text import all_stripped, all_valid
from statistics_api.delivery.kinds import Columns, EventKind, row_response

_REQUIRED = ("url_path", "method", "response_status_code", "response_time_ms")
_METHODS = frozenset(get_args(Method))
_NUMBERS = {int, float}


def parse_columns(items: Sequence[Any]) -> Columns | None:
    """Return the items in columns, or None unless each is a valid request with only the kind's own fields, of which
    the optional ones may be absent or null.

    As for auth events, ApiRequest validates every item that it might change or refuse.
    """
    try:
        paths, methods, codes, times = (list(map(itemgetter(name), items)) for name in _REQUIRED)
        user_agents = [item.get("user_agent") for item in items]
        consumers = [item.get("consumer") for item in items]
        has_only_these = all(
            len(item) == len(_REQUIRED) + ("user_agent" in item) + ("consumer" in item) for item in items
        )
        sent_agents = [each for each in user_agents if each is not None]
        sent_consumers = [each for each in consumers if each is not None]
        is_plain = (
            has_only_these
            and set(methods) <= _METHODS
            and set(map(type, codes)) <= {int}
            and set(map(type, times)) <= _NUMBERS
            and all(STATUS_CODE_MIN <= code <= STATUS_CODE_MAX for code in codes)
            and all(0 <= time <= RESPONSE_US_MAX // MICROSECONDS for time in times)
            and all(all_stripped(each) and all_valid(each) for each in (paths, sent_agents, sent_consumers))
            and all(map(WHOLE_PATH.fullmatch, set(paths)))
            and max(map(len, sent_consumers), default=0) <= CONSUMER_CHARACTERS_MAX
        )
    except (AttributeError, KeyError, TypeError):  # a missing field, not an object, or not a string
        return None
    if not is_plain:
        return None
    ips = [None] * len(items)  # an address has many spellings, so the model reads an item with one
    return paths, methods, codes, list(map(rounded_microseconds, times)), user_agents, consumers, ips


API_REQUESTS = EventKind(
    name="api_requests",
    event=ApiRequest,
    columns=ApiRequestColumns,
    values=attrgetter("url_path", "method", "response_status_code", "response_us", "user_agent", "consumer", "ip"),
    respond=row_response,
    parse_columns=parse_columns,
)
