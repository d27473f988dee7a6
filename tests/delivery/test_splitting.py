"""A body is split as the parser reads it, wherever it is cut."""

import json
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json

from servicekit.http.strict_json import MalformedJson
from statistics_api.delivery import splitting
from statistics_api.delivery.splitting import (
    Malformed,
    count_lines,
    is_array,
    read_slowly,
    split_array,
    split_lines,
    values_of,
)

_LEAVES = st.none() | st.booleans() | st.integers(-9, 9999) | st.text('ab"\\{}[],:é😀 ', max_size=6)
_VALUES = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("a}{,", max_size=2), inner, max_size=3)
)
_OBJECTS = st.dictionaries(st.sampled_from(["a", "b"]), _LEAVES, min_size=1, max_size=2)
_SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")])
# Small enough for cuts to fall everywhere in a small body; an escape needs two characters.
_WINDOWS = st.sampled_from([2, 3, 5, 7, 16, 40, 64 * 1024])


def values_in(body: bytes, *, is_lines: bool = False) -> list[Any]:
    """Every value that the steps of splitting give."""
    values: list[Any] = []
    for step in split_lines(body) if is_lines else split_array(body):
        if step is not None:
            piece, known = step
            values += list(read_slowly(body, piece)) if known is None else known
            if known is not None and not is_lines:
                assert values_of(body, piece) == known
    return values


def same_or_too_long(found: list[Any], expected: list[Any]) -> bool:
    """With a small window, an item may be too long for it; which is told of that item alone."""
    return len(found) == len(expected) and all(
        left == right or (isinstance(left, Malformed) and left.sentence.startswith("larger than"))
        for left, right in zip(found, expected, strict=True)
    )


@settings(max_examples=500, deadline=None)
@given(st.lists(_VALUES | _OBJECTS, max_size=8), _SEPARATORS, st.sampled_from([None, 0, 2]), _WINDOWS)
def test_an_array_is_split_into_its_items(
    items: list[Any], separators: tuple[str, str], indent: int | None, window: int
) -> None:
    body = json.dumps(items, separators=separators, indent=indent).encode()
    with mock.patch.object(splitting, "PIECE_BYTES_MAX", window):
        assert same_or_too_long(values_in(body), items)
    assert values_in(body) == items


@settings(max_examples=1000, deadline=None)
@given(st.text('[]{},:"\\ a1é\n', max_size=14).map(str.encode), _WINDOWS)
def test_any_text_is_split_as_the_parser_reads_it_or_refused(tail: bytes, window: int) -> None:
    body = b"[" + tail
    try:
        expected = from_json(body)
    except ValueError:
        expected = None
    with mock.patch.object(splitting, "PIECE_BYTES_MAX", window):
        try:
            found = values_in(body)
        except MalformedJson:
            assert expected is None
            return
    if expected is None:
        # Its brackets match, so the items have ends; then at least one of them is wrong.
        assert any(isinstance(value, Malformed) for value in found)
    else:
        assert same_or_too_long(found, expected)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text('{}", a1\r\t\x0b', max_size=5), max_size=8), _WINDOWS)
def test_lines_are_split_into_those_that_are_not_blank(lines: list[str], window: int) -> None:
    body = "\n".join(lines).encode()
    expected = [line for line in lines if line.strip(" \t\r")]
    assert count_lines(body, 100) == len(expected)
    with mock.patch.object(splitting, "PIECE_BYTES_MAX", window):
        assert len(values_in(body, is_lines=True)) == len(expected)
    found = values_in(body, is_lines=True)
    for line, value in zip(expected, found, strict=True):
        try:
            assert value == from_json(line)
        except ValueError:
            assert isinstance(value, Malformed)


def test_lines_are_counted_no_further_than_needed() -> None:
    assert count_lines(b"x\n" * 1_000, 10) == 11
    assert count_lines(b"\n" * 1_000 + b"x\n" * 10, 10) == 10


@pytest.mark.parametrize("blank", [b"", b" \r\n\t", b"\xef\xbb\xbf"])
def test_an_array_is_known_by_its_first_character(blank: bytes) -> None:
    assert is_array(blank + b"[]")
    assert not is_array(blank + b"{}")
    assert not is_array(blank)


MALFORMED = [
    b"[",
    b"[1",
    b"[1,",
    b"[1,]",
    b"[,1]",
    b"[1,,2]",
    b"[1]]",
    b"[1]x",
    b"[1}",
    b'["]',
    b'["\\',
    b"[{]",
    b"[] []",
]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("window", [2, 3, 64 * 1024])
def test_what_has_no_end_or_no_items_where_they_should_be_is_refused(body: bytes, window: int) -> None:
    with mock.patch.object(splitting, "PIECE_BYTES_MAX", window), pytest.raises(MalformedJson):
        values_in(body)
