"""RFC 8259, and no more: what a lenient parser lets in would fail later, in the database or in another parser.

The parser itself refuses broken UTF-8, byte order marks, other encodings, lone surrogates, NaN and Infinity. On top
come four rules of ours: no NUL, no integer beyond 64 bits, no number too large for a double, and a bounded depth.
"""

import math
from typing import Any

from pydantic_core import from_json

from servicekit.errors import FieldError, Invalid

DEPTH_MAX = 20
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1
# Only bodies that could break a rule are walked: an escaped NUL, and, once every digit is written as 0, a long run of
# digits or a large exponent. Searches for fixed bytes: one regular expression for all that took 14 times as long.
_ESCAPED_NUL = rb"\u0000"
_DIGITS_ALIKE = bytes.maketrans(b"123456789E", b"000000000e")
_LONG = b"0" * 19
_LARGE_EXPONENTS = (b"0e000", b"0e+000")


class MalformedJson(Invalid):
    """The body is not JSON that this product accepts; the message says what and where."""

    def __init__(self, message: str) -> None:
        super().__init__([FieldError(("body",), message, "json_invalid")])


def parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse strictly.

    Raises:
        MalformedJson: not JSON, or JSON that breaks one of the rules above.
    """
    value = decode(body)
    check(body, value)
    return value


def decode(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """What the parser itself takes: for who holds the value to rules that are stricter than ours, or calls `check`.

    Raises:
        MalformedJson: not JSON.
    """
    if not body:
        raise MalformedJson("empty, but JSON was expected")
    try:
        # Many objects share their keys; values that repeat are not worth looking for.
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise MalformedJson(f"not valid JSON: {error}") from error


def check(body: bytes, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Hold `value`, decoded from `body`, to our four rules.

    Raises:
        MalformedJson: it breaks one.
    """
    openings = body.count(b"{") + body.count(b"[")
    if isinstance(value, list):
        # A long flat list of objects is not a deep one; its numbers and strings must not hide one that is.
        kinds = list(map(type, value))
        openings -= kinds.count(dict) + kinds.count(list)
    if openings >= DEPTH_MAX or _is_suspect(body):
        _walk(value)


def _is_suspect(body: bytes) -> bool:
    if _ESCAPED_NUL in body:
        return True
    alike = body.translate(_DIGITS_ALIKE)
    return _LONG in alike or (b"0e" in alike and any(exponent in alike for exponent in _LARGE_EXPONENTS))


def _walk(root: Any) -> None:  # noqa: ANN401 - any JSON value
    level = [root]
    depth = 0
    while level:
        depth += 1
        below: list[Any] = []
        for value in level:
            if depth > DEPTH_MAX and isinstance(value, dict | list):
                raise MalformedJson(f"nested deeper than {DEPTH_MAX} levels")
            if isinstance(value, dict):
                below += value
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                if "\0" in value:
                    raise MalformedJson("contains a NUL character")
            elif isinstance(value, float):
                if math.isinf(value):
                    raise MalformedJson("contains a number too large to be stored")
            elif isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
                raise MalformedJson("contains an integer beyond 64 bits")
        level = below
