"""The properties of auth events that `statistics_api.delivery` needs."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent, DeviceType, Registered, unknown_device_type
from contract.text import all_stripped, all_valid
from statistics_api.delivery.kinds import Columns, EventKind, fixed_response

_user_key = itemgetter("userKey")
_device_type_name = itemgetter("deviceType")
# Maps a name to one shared string for all events of that type; an unknown name is a KeyError.
_device_type = {device_type.value: device_type.value for device_type in DeviceType}.__getitem__


def parse_columns(items: Sequence[Any]) -> Columns | None:
    """Return the items in columns, or None unless each is a valid event of only a user key and a device type.

    Most batches have only such items. The passes over them run no Python code per item, so they are many times faster
    than validating each item. The rules are those of AuthEvent, which validates every item that it might change or
    refuse (white space to strip, another field).
    """
    if not items:
        return [], []
    try:
        user_keys = list(map(_user_key, items))
        device_types = list(map(_device_type, map(_device_type_name, items)))
        right = set(map(len, items)) == {2} and all_stripped(user_keys) and all_valid(user_keys)
    except (KeyError, TypeError):  # a missing field, an unknown device type, not an object, or not a string
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
