"""Every kind of event that the private service records."""

from collections.abc import Sequence
from typing import Any

from device_registration_api.api_requests.commands import API_REQUESTS
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.table import EventTable
from device_registration_api.measurements.commands import MEASUREMENTS
from device_registration_api.store_events.commands import STORE_EVENTS

KINDS: Sequence[EventTable[Any]] = (AUTH_EVENTS, API_REQUESTS, MEASUREMENTS, STORE_EVENTS)
