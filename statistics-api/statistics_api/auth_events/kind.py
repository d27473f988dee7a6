"""What auth events have of their own, for `statistics_api.delivery`."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent, DeviceType, Registered, unknown_device_type
from contract.text import all_stripped, all_valid
from statistics_api.delivery.kinds import Columns, EventKind, fixed_response

_user_key = itemgetter("userKey")
_device_type_name = itemgetter("deviceType")
# To one string for all events of a type; a name that is none is a KeyError.
_device_type = {device_type.value: device_type.value for device_type in DeviceType}.__getitem__


def parse_columns(items: Sequence[Any]) -> Columns | None:
    """The items in columns, if each is a valid event of a user key and a device type and nothing else.

    Most are, and are read many times faster so than item by item: in passes that run no Python code for an item. The
    rules are AuthEvent's; whatever it might see in another way (white space to strip, a field more) is left to it.
    """
    if not items:
        return [], []
    try:
        user_keys = list(map(_user_key, items))
        device_types = list(map(_device_type, map(_device_type_name, items)))
        right = set(map(len, items)) == {2} and all_stripped(user_keys) and all_valid(user_keys)
    except (KeyError, TypeError):  # a field is missing, a device type unknown; no object, no string
        return None
    return (user_keys, device_types) if right else None


AUTH_EVENTS = EventKind(
    name="auth_events",
    event=AuthEvent,
    columns=AuthEventColumns,
    values=lambda event: (event.user_key, event.device_type.value),
    respond=fixed_response(Registered().model_dump_json(by_alias=True).encode()),
    parse_columns=parse_columns,
    bad_value=unknown_device_type,
)
