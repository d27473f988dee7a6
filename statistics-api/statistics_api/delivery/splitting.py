"""Splits the body of a batch into pieces of at most 64 KiB, whatever the body contains.

Each step builds at most the values of one piece, and takes at most the time to parse one piece. Between two steps, the
caller can yield to the event loop. So a malformed body of 4 MiB can neither block the process nor take gigabytes.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

from pydantic_core import from_json

from servicekit.http.strict_json import BYTE_ORDER_MARK, MalformedJson, decode

# The size that is parsed at once. It equals the body limit of a single event, so any acceptable item fits into a piece.
PIECE_BYTES_MAX = 64 * 1024
# The size that is searched for the ends of items at once. Where every second byte is a token, a piece takes about 45 ms
# on a slow machine, more than a body may hold the event loop.
_WINDOW_BYTES = 8 * 1024
# A line that is not JSON takes about 5 µs.
PIECE_LINES_MAX = 500
SEVERAL_VALUES = (
    "several JSON values on one line, where each needs a line of its own; "
    "`curl -d @file` removes line ends, `--data-binary @file` keeps them"
)

_WHITE_SPACE = re.compile(rb"[ \t\r\n]*+")
# A line that is not blank, from its first character other than white space.
_LINE = re.compile(rb"[^ \t\r\n][^\n]*+")
# The tokens outside of strings. A string that ends within the window is one token.
_STRUCTURE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]++|[\]}]++|[,"]', re.DOTALL)
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE, _COMMA = b'",'
_AFTER_VALUE = re.compile(r"trailing characters at line 1 column ([0-9]+)")
_VALUES = (b"{", b"[")
_OPENING = frozenset(b"[{")


class Piece(NamedTuple):
    """Complete items of the body, in [start, end). `is_array` means that commas separate them, and not line ends."""

    start: int
    end: int
    is_array: bool


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for an item that is not JSON. It has no traceback, unlike an exception, so ten thousand are cheap."""

    sentence: str


# A piece and its values, or None for a step without a piece. A piece without values has to be read by `read_slowly`,
# item by item.
Step: TypeAlias = tuple[Piece, list[Any] | None] | None


def count_lines(body: bytes, lines_max: int) -> int:
    """Return the number of lines that are not blank, but at most `lines_max` + 1."""
    return sum(1 for _ in islice(_LINE.finditer(body, _after_mark(body)), lines_max + 1))


def split_lines(body: bytes) -> Iterator[Step]:
    """Yield the pieces of a body that has one value per line; blank lines are skipped."""
    position = _after_mark(body)
    while position < len(body):
        end = body.rfind(b"\n", position, position + PIECE_BYTES_MAX) + 1
        if end == 0:  # a longer line, or the last one
            end = body.find(b"\n", position) + 1 or len(body)
        lines = list(islice(_LINE.finditer(body, position, end), PIECE_LINES_MAX))
        if len(lines) == PIECE_LINES_MAX:
            end = lines[-1].end()
        is_piece = end - position <= PIECE_BYTES_MAX
        yield Piece(position, end, is_array=False), _values([line[0] for line in lines]) if is_piece else None
        position = end


def is_array(body: bytes) -> bool:
    """Whether the body begins with an array."""
    return body.startswith(b"[", _first(body))


def split_array(body: bytes) -> Iterator[Step]:
    """Yield the items of a body that `is_array`, in pieces.

    The body is cut after a text that looks like the end of an object. If the parser can read the piece as a list of
    values, the cut is the end of an item, because JSON has only one reading from the beginning of an item. Otherwise
    the ends of the items are searched for.

    Raises:
        MalformedJson: the array has no end, text follows its end, or an item is missing.
    """
    start = position = _first(body) + 1
    end = len(body.rstrip(b" \t\r\n")) - 1  # where the array's own end should stand
    while True:
        is_last = end - position <= PIECE_BYTES_MAX
        cut = end if is_last else body.rfind(b"},", position, position + PIECE_BYTES_MAX) + 1
        piece = Piece(position, cut, is_array=True)
        values = values_of(body, piece) if body.startswith(b"]" if is_last else b",", cut) else None
        if values is None or (not values and position > start):  # no list, or a comma and no item after it
            yield from _search_items(body, position, is_first=position == start)
            return
        yield piece, values
        if is_last:
            return
        position = cut + 1


def values_of(body: bytes, piece: Piece) -> list[Any] | None:
    """Return the values of a piece of an array, or None if it is too large or the fast parser cannot read it."""
    if not 0 <= piece.end - piece.start <= PIECE_BYTES_MAX:
        return None
    values = _values([b"[%b]" % body[piece.start : piece.end]])
    return None if values is None else values[0]


def read_slowly(body: bytes, piece: Piece) -> Iterator[Any]:
    """Yield the values of a piece one by one, and a Malformed for each item that is not JSON."""
    if piece.is_array:
        yield _value(body[piece.start : piece.end])
        return
    for line in _LINE.finditer(body, piece.start, piece.end):
        yield _line_value(line[0])


def _values(texts: Sequence[bytes]) -> list[Any] | None:
    """Return all values from the fast parser, or None if it refuses one of the texts."""
    try:
        return [from_json(text, allow_inf_nan=False, cache_strings="keys") for text in texts]
    except ValueError:
        return None


def _search_items(body: bytes, position: int, *, is_first: bool) -> Iterator[Step]:
    """Yield the items from `position` on, one by one; only brackets, commas and strings are examined to find them."""
    depth = 0
    begin = position
    in_string = False
    while position < len(body):
        yield None
        window = min(len(body), position + _WINDOW_BYTES)
        if in_string:
            position, in_string = _pass_string(body, position, window)
            continue
        for token in _STRUCTURE.finditer(body, position, window):
            at, position = token.span()
            first = body[at]
            if first == _QUOTE:
                if position - at == 1:  # the string does not end in this window
                    in_string = True
                    break
            elif first == _COMMA:
                if depth == 0:
                    yield _item(body, begin, at), None
                    begin, is_first = position, False
            elif first in _OPENING:
                depth += position - at
            elif position - at <= depth:
                depth -= position - at
            else:
                end = at + depth
                if not (is_first and _is_blank(body, begin, end)):
                    yield _item(body, begin, end), None
                _check_end(body, end)
                return
        else:
            position = window
    raise MalformedJson("not valid JSON: the array has no end")


def _pass_string(body: bytes, position: int, window: int) -> tuple[int, bool]:
    """Return the position after the read part of a string, and whether that position is still in the string."""
    inside = _IN_STRING.match(body, position, window)
    end = inside.end() if inside else position
    if end < window and body[end] == _QUOTE:
        return end + 1, False
    # A backslash ends the window; the character that it escapes is in the next one.
    return (end if end > position or window < len(body) else window), True


def _item(body: bytes, begin: int, end: int) -> Piece:
    if _is_blank(body, begin, end):
        raise MalformedJson("not valid JSON: an item is missing before or after a comma of the array")
    return Piece(begin, end, is_array=True)


def _check_end(body: bytes, end: int) -> None:
    if body[end] != ord("]") or not _is_blank(body, end + 1, len(body)):
        raise MalformedJson("not valid JSON: something else stands where the array should end, or after it")


def _is_blank(body: bytes, begin: int, end: int) -> bool:
    return _WHITE_SPACE.fullmatch(body, begin, end) is not None


def _first(body: bytes) -> int:
    """Return the position of the first character that is not white space."""
    begin = _WHITE_SPACE.match(body, _after_mark(body))
    return begin.end() if begin else 0


def _after_mark(body: bytes) -> int:
    return len(BYTE_ORDER_MARK) if body.startswith(BYTE_ORDER_MARK) else 0


def _line_value(line: bytes) -> Any:  # noqa: ANN401 - any JSON value
    value = _value(line)
    if isinstance(value, Malformed) and _has_several_values(line):
        return Malformed(SEVERAL_VALUES)
    return value


def _has_several_values(line: bytes) -> bool:
    try:
        # If the line is too long, its first value may still end within this piece.
        from_json(line[:PIECE_BYTES_MAX], allow_inf_nan=False)
    except ValueError as error:
        after = _AFTER_VALUE.fullmatch(str(error))
        return after is not None and line[int(after[1]) - 1 :].lstrip()[:1] in _VALUES
    return False


def _value(item: bytes) -> Any:  # noqa: ANN401 - any JSON value
    if len(item) > PIECE_BYTES_MAX and len(item.strip()) > PIECE_BYTES_MAX:
        return Malformed(f"larger than {PIECE_BYTES_MAX} bytes")
    try:
        return decode(item)
    except MalformedJson as error:
        [problem] = error.fields
        return Malformed(problem.msg)
