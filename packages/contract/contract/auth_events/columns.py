"""Auth events in columns, as they travel to the private service."""

from typing import Annotated, Any, Self, TypeAlias

from pydantic import PlainSerializer

from contract.auth_events.events import DeviceType
from contract.delivery import EventColumns
from contract.text import ValidatedText, all_stripped, all_valid

# Every member is a string already; serialising the members one by one takes eight times as long.
DeviceTypes: TypeAlias = Annotated[list[DeviceType], PlainSerializer(list, return_type=list[str])]


class AuthEventColumns(EventColumns):
    """The fields of auth events, one value an event."""

    user_keys: list[ValidatedText]
    device_types: DeviceTypes

    @classmethod
    def parse(cls, user_keys: list[Any], device_types: list[Any]) -> Self:
        """Return the columns of events, as AuthEvent has each of them, without Python code for each.

        Raises:
            ValueError: one of the events is refused or changed; AuthEvent says which, and how.
        """
        if (
            not _TYPES.issuperset(device_types)
            or None in user_keys
            or not (all_stripped(user_keys) and all_valid(user_keys))
        ):
            raise ValueError("must be events without surrounding white space")
        return cls._constructed({"user_keys": user_keys, "device_types": device_types})


_TYPES = frozenset(map(str, DeviceType))
