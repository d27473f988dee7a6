r"""JSON that is valid, and that the fast parser gives up on: lone surrogates (`"\ud800"`), numbers of more than 4,300
digits, and more than 200 levels. Python's own parser takes the first two. Depth would exhaust the stack of any parser
that calls itself, so a deep text is read in slices that are not deep.
"""

import json
import re
from typing import Any, Final

# The worst text of this size takes 32 ms (21,000 empty arrays at the level where slices begin). A larger text stays
# refused.
BYTES_MAX = 64 * 1024
NOT_JSON: Final = object()

# What the fast parser says of such a text. It may say so of a broken one, too, which is found out here.
_REASONS = re.compile(r"recursion limit exceeded|number out of range|.*hex escape")
# Deeper containers are replaced by 0 once they are known to be JSON: no model of ours is as deep.
_LEVELS_MAX = 100
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_INTEGER_DIGITS_MAX = 4_000


def parse(body: bytes, reason: str) -> Any:  # noqa: ANN401 - any JSON value
    """The value of a text that the fast parser refused with `reason`; `NOT_JSON` if it is none, or is too large.

    A number of more than 4,000 digits is a float, and infinite beyond a float's range.
    """
    if len(body) > BYTES_MAX or not _REASONS.match(reason):
        return NOT_JSON
    try:
        return _decoder.decode(_flattened(body.decode()))
    except ValueError:
        return NOT_JSON


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else float(digits)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_decoder = json.JSONDecoder(parse_int=_integer, parse_constant=_refuse)


def _flattened(text: str) -> str:
    """The same text, with 0 in the place of every container beyond `_LEVELS_MAX` levels.

    A container at each multiple of `_LEVELS_MAX` begins a slice, which is parsed when it ends. So no slice has more
    levels than that.

    Raises:
        ValueError: a slice is not JSON.
    """
    slices: list[list[str]] = [[]]
    depth = position = 0
    for token in _STRING_OR_BRACKET.finditer(text):
        if token[0] in ("[", "{"):
            depth += 1
            if depth > 1 and depth % _LEVELS_MAX == 1:
                slices[-1].append(text[position : token.start()])
                slices.append([])
                position = token.start()
        elif token[0] in ("]", "}"):
            if depth > 1 and depth % _LEVELS_MAX == 1:
                _decoder.decode("".join([*slices.pop(), text[position : token.end()]]))
                slices[-1].append("0")
                position = token.end()
            depth -= 1
    if len(slices) > 1:
        raise ValueError
    return "".join([*slices[0], text[position:]])
