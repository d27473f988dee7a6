r"""Decodes valid JSON that the fast parser refuses: lone surrogates (`"\ud800"`), numbers of more than 4,300 digits,
and more than 200 levels. Python's own parser accepts the first two. A deep text would exhaust the stack of any
recursive parser, so it is read in slices that are not deep.
"""

import json
import re
from typing import Any, Final

from pydantic_core import from_json

# The worst text of this size takes 37 ms on a slow machine (21,000 empty arrays at the level where slices begin). A
# larger text is refused.
BYTES_MAX = 64 * 1024
NOT_JSON: Final = object()

# The errors of the fast parser for such a text. It may report them for invalid JSON, too, which is detected here.
_REASONS = re.compile(r"recursion limit exceeded|number out of range|.*hex escape")
# Deeper containers are replaced by 0 after they were found to be valid JSON: no model of ours is as deep.
_LEVELS_MAX = 100
_STRING_OR_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]++|[\]}]++', re.DOTALL)
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


def _check(text: str) -> None:
    """Raises ValueError if the text is not JSON. Most slices have nothing rare, and the fast parser reads them."""
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError:
        _decoder.decode(text)


def _flattened(text: str) -> str:
    """Return the same text, with 0 in the place of every container beyond `_LEVELS_MAX` levels.

    A container at each multiple of `_LEVELS_MAX` begins a slice, which is parsed at its end. So no slice has more
    levels than `_LEVELS_MAX`.

    Raises:
        ValueError: a slice is not JSON.
    """
    slices: list[list[str]] = [[]]
    depth = position = 0
    next_slice = _LEVELS_MAX + 1  # the level of the next slice; as many levels above it, the last one began
    for token in _STRING_OR_BRACKETS.finditer(text):
        at, end = token.span()
        if text[at] in "[{":
            while next_slice <= depth + end - at:
                begin = at + next_slice - depth - 1
                slices[-1].append(text[position:begin])
                slices.append([])
                position = begin
                next_slice += _LEVELS_MAX
            depth += end - at
        elif text[at] in "]}":
            while len(slices) > 1 and next_slice - _LEVELS_MAX > depth - (end - at):
                next_slice -= _LEVELS_MAX
                after = at + depth - next_slice + 1
                _check("".join(slices.pop()) + text[position:after])
                slices[-1].append("0")
                position = after
            depth -= end - at
    if len(slices) > 1:
        raise ValueError
    return "".join([*slices[0], text[position:]])
