"""The data of a store event: any JSON object that PostgreSQL can hold, within limits."""

import math
import re
from decimal import Decimal
from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import to_json

DATA_BYTES_MAX = 16 * 1024
DATA_LEVELS_MAX = 20

# JSON writes other numbers with an exponent, and PostgreSQL writes out all their digits.
_WRITTEN_OUT_MAX = 1e15
# The exact value of a larger float has more digits than were sent.
_WHOLE_MAX = 2**53
# PostgreSQL accepts no U+0000 in a text; a backslash before it may itself be one that is escaped.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# What is the same however it is written. Strings are checked in the text of the whole.
_PLAIN = frozenset({str, int, bool, type(None)})
_TOO_LARGE = f"must have at most {DATA_BYTES_MAX} bytes as JSON in UTF-8, with the digits of its numbers written out"


def _storable(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Return an object with its members in one order, and whole numbers as integers: as often as it is written, equal
    data is the same text, and repeats are compared by it.

    What comes from a JSON text needs no other validation. Pydantic's own of JSON values took ten times as long.
    """
    if not isinstance(value, dict):
        message = "must be an object"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    try:
        text = to_json(value)
    except ValueError:
        # Half a character, or more levels than any data may have.
        message = f"must be Unicode text and numbers in at most {DATA_LEVELS_MAX} levels"
        raise ValueError(message) from None
    if len(text) > DATA_BYTES_MAX:  # before anything that takes time for each part of it
        raise ValueError(_TOO_LARGE)
    if rb"\u0000" in text and _NUL.search(text):
        message = "must not contain the character U+0000"
        raise ValueError(message)
    one_form = _Canonical()
    data = one_form.of(value, DATA_LEVELS_MAX)
    if len(text) + one_form.digits > DATA_BYTES_MAX:
        raise ValueError(_TOO_LARGE)
    return data


def canonical(data: dict[str, Any]) -> Any:  # noqa: ANN401 - an object again
    """Return stored data in the form in which it was validated: PostgreSQL has an order and a spelling of its own."""
    return _Canonical().of(data, DATA_LEVELS_MAX)


class _Canonical:
    """Makes one form of all that are equal. `digits` are those that an exponent saves."""

    def __init__(self) -> None:
        self.digits = 0

    def of(self, value: Any, levels: int) -> Any:  # noqa: ANN401 - any JSON value
        """Return the one form of a value that may have so many levels. Raises ValueError."""
        kind = type(value)  # JSON has no subclasses, and this is the quickest way to tell
        if kind is not dict and kind is not list:
            return self._number(value) if kind is float else value
        if not levels:
            message = f"must have at most {DATA_LEVELS_MAX} levels"
            raise ValueError(message)
        if kind is list:
            if _PLAIN.issuperset(map(type, value)):
                return value
            return [self.of(each, levels - 1) for each in value]
        names = sorted(value)
        if _PLAIN.issuperset(map(type, value.values())):
            return {name: value[name] for name in names}
        return {name: self.of(value[name], levels - 1) for name in names}

    def _number(self, value: float) -> int | float:
        if not math.isfinite(value):
            message = "must have finite numbers"
            raise ValueError(message)
        if value and not 1 / _WRITTEN_OUT_MAX < abs(value) < _WRITTEN_OUT_MAX:
            self.digits += abs(math.floor(math.log10(abs(value))))
        if not value.is_integer():
            return value
        # As PostgreSQL stores the number: with the digits that were sent, and zeros.
        return int(value) if abs(value) < _WHOLE_MAX else int(Decimal(repr(value)))


EventData: TypeAlias = Annotated[
    dict[str, Any],
    PlainValidator(_storable),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]
