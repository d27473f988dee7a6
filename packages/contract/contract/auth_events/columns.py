"""Auth events in columns, as they travel to the private service."""

from typing import Annotated, TypeAlias

from pydantic import PlainSerializer

from contract.auth_events.events import DeviceType
from contract.delivery import EventColumns
from contract.text import ValidatedText

# Every member is a string already; serialising the members one by one takes eight times as long.
DeviceTypes: TypeAlias = Annotated[list[DeviceType], PlainSerializer(list, return_type=list[str])]


class AuthEventColumns(EventColumns):
    """The fields of auth events, one value an event."""

    user_keys: list[ValidatedText]
    device_types: DeviceTypes
