"""The data of a store event: any JSON object that PostgreSQL can hold, within limits."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, JsonValue, WithJsonSchema
from pydantic_core import to_json

DATA_BYTES_MAX = 16 * 1024
DATA_LEVELS_MAX = 20

# PostgreSQL accepts no NUL in a text, and UTF-8 has no surrogates.
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
# JSON writes larger numbers with an exponent, and PostgreSQL writes out all their digits.
_WRITTEN_OUT_MAX = 1e15
# A larger whole number is not the same as the float that is sent.
_WHOLE_MAX = 2**53
_TOO_LARGE = f"must have at most {DATA_BYTES_MAX} bytes as JSON in UTF-8, with the digits of its numbers written out"


def _storable(value: Any) -> Any:  # noqa: ANN401 - pydantic hands over whatever the client sent
    """Return an object with its members in one order, and whole numbers as integers: as often as it is written, equal
    data is the same text, and repeats are compared by it.
    """
    if not isinstance(value, dict):
        message = "must be an object"
        raise ValueError(message)  # noqa: TRY004 - pydantic turns a ValueError, not a TypeError, into a 422
    digits = _check(value)
    data = _in_order(value)
    if len(to_json(data)) + digits > DATA_BYTES_MAX:
        raise ValueError(_TOO_LARGE)
    return data


def _check(value: dict[Any, Any]) -> int:
    """Return how many bytes more the numbers have when they are written out, without an exponent. One level at a time:
    the value may be deeper than the stack of a recursive function.

    Raises:
        ValueError: too deep, far too large, or a part that cannot be stored.
    """
    digits = 0
    parts = 0
    level: list[Any] = [value]
    for _ in range(DATA_LEVELS_MAX):
        inner: list[Any] = []
        for part in _parts(level):
            parts += 1
            if parts > DATA_BYTES_MAX:  # each has a byte at least, and a batch may have a hundred times as many
                raise ValueError(_TOO_LARGE)
            if isinstance(part, str):
                if _UNSTORABLE.search(part):
                    message = "must not contain the character U+0000, or half a character"
                    raise ValueError(message)
            elif isinstance(part, float):
                if not math.isfinite(part):
                    message = "must have finite numbers"
                    raise ValueError(message)
                if part and not 1 / _WRITTEN_OUT_MAX < abs(part) < _WRITTEN_OUT_MAX:
                    digits += abs(math.floor(math.log10(abs(part))))
            elif isinstance(part, dict | list):
                inner.append(part)
        if not inner:
            return digits
        level = inner
    message = f"must have at most {DATA_LEVELS_MAX} levels"
    raise ValueError(message)


def _parts(containers: Iterable[Any]) -> Iterable[Any]:
    for each in containers:
        if isinstance(each, dict):
            yield from each
            yield from each.values()
        else:
            yield from each


def _in_order(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {name: _in_order(value[name]) for name in sorted(value)}
    if isinstance(value, list):
        return [_in_order(each) for each in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE_MAX
    return int(value) if is_whole else value


EventData: TypeAlias = Annotated[
    dict[str, JsonValue],
    BeforeValidator(_storable),
    WithJsonSchema({"type": "object", "additionalProperties": True}),
]
