"""RFC 8259, and no more: what a lenient parser lets in would fail later, in the database or in another parser.

The parser itself refuses broken UTF-8, byte order marks, other encodings, lone surrogates, NaN and Infinity. On top
come four rules of ours: no NUL, no integer beyond 64 bits, no number too large for a double, and a bounded depth.
"""

import math
import re
from typing import Any

from pydantic_core import from_json

from servicekit.errors import FieldError, Invalid

DEPTH_MAX = 20
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**63 - 1
# Only bodies that could break a rule are walked: a long run of digits, a large exponent, an escaped NUL.
_SUSPECT = re.compile(rb"[0-9]{19}|[0-9][eE][+]?[0-9]{3}|\\u0000")


class MalformedJson(Invalid):
    """The body is not JSON that this product accepts; the message says what and where."""

    def __init__(self, message: str) -> None:
        super().__init__([FieldError(("body",), message, "json_invalid")])


def parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Parse strictly.

    Raises:
        MalformedJson: not JSON, or JSON that breaks one of the rules above.
    """
    if not body:
        raise MalformedJson("empty, but JSON was expected")
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedJson(f"not valid JSON: {error}") from error
    openings = body.count(b"{") + body.count(b"[")
    if isinstance(value, list):
        # A long flat list of objects is not a deep one; its numbers and strings must not hide one that is.
        openings -= sum(isinstance(item, dict | list) for item in value)
    if openings >= DEPTH_MAX or _SUSPECT.search(body):
        _check(value)
    return value


def _check(root: Any) -> None:  # noqa: ANN401 - any JSON value
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
