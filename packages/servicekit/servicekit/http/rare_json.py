r"""Decodes valid JSON that the fast parser refuses: lone surrogates (`"\ud800"`), numbers of more than 4,300 digits,
and more than 200 levels. Python's own parser accepts the first two. A deep text would exhaust the stack of any
recursive parser, so it is read in slices that are not deep.
"""

import json
import re
from typing import Any, Final

# The worst text of this size takes 32 ms (21,000 empty arrays at the level where slices begin). A larger text is
# refused.
BYTES_MAX = 64 * 1024
NOT_JSON: Final = object()

# The errors of the fast parser for such a text. It may report them for invalid JSON, too, which is detected here.
_REASONS = re.compile(r"recursion limit exceeded|number out of range|.*hex escape")
# Deeper containers are replaced by 0 after they were found to be valid JSON: no model of ours is as deep.
_LEVELS_MAX = 100
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
_INTEGER_DIGITS_MAX = 4_000


def parse(body: bytes, reason: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a text that the fast parser refused with `reason`; `NOT_JSON` if it is invalid or too large.

    A number of more than 4,000 digits becomes a float, which is infinite beyond the range of a float.
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
    """Return the same text, with 0 in the place of every container beyond `_LEVELS_MAX` levels.

    A container at each multiple of `_LEVELS_MAX` begins a slice, which is parsed at its end. So no slice has more
    levels than `_LEVELS_MAX`.

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
