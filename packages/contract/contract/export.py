"""Everything that is held about one person, as the person may ask for it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field, JsonValue


class ExportedDevice(BaseModel):
    """A device of the person."""

    device_id: str
    name: str | None
    created_at: datetime


class ExportHead(BaseModel):
    """What is held apart from events, between the services; `kinds` are those of events that name the person."""

    user: dict[str, JsonValue]
    created_at: datetime
    suppressed_at: datetime | None
    devices: list[ExportedDevice]
    kinds: list[str]


class ExportPage(BaseModel):
    """Some events of one kind in the order of their arrival, and where the next page begins, between the services."""

    events: list[dict[str, JsonValue]]
    next: str | None


class Export(BaseModel):
    """The document that a client gets. Each kind of event has a list of its own, under its name."""

    user: dict[str, JsonValue] = Field(description="Every field, with the `id`.")
    created_at: datetime
    suppressed_at: datetime | None = Field(description="Since when nothing more is recorded; null: it is.")
    devices: list[ExportedDevice]
    events: dict[str, list[dict[str, Any]]] = Field(description="By kind, the first that arrived first.")
