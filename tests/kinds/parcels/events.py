"""Parcels as clients send them and as they travel; a kind that is delivered has this in the contract."""

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, JsonValue

from contract.delivery import Event, EventColumns
from contract.text import CAMEL_CASE, ShortText, ValidatedText

Way: TypeAlias = Literal["air", "road", "sea"]
Grams: TypeAlias = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


class Parcel(Event):
    """One parcel that was handed over, as a client sends it."""

    model_config = CAMEL_CASE
    fingerprint_name: ClassVar = "parcel"

    code: ShortText
    way: Way
    grams: Grams
    contents: dict[str, JsonValue] | None = None


class ParcelColumns(EventColumns):
    """The fields of parcels, one value an event; few have contents."""

    codes: list[ValidatedText]
    ways: list[Way]
    grams: list[Grams]
    contents: dict[int, dict[str, JsonValue]]
