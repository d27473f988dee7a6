"""The header `Prefer` as RFC 7240 has it: names without case, quoted texts, several lines, the first of a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.http.prefer import CHARACTERS_MAX, prefers

NAME = "respond-async"


@pytest.mark.parametrize(
    "lines",
    [
        ["respond-async"],
        ["Respond-ASYNC"],
        ["respond-async, wait=10"],
        ["wait=10", "respond-async"],
        ['respond-async=""'],
        ["respond-async="],
        [" respond-async ; priority=5"],
        ["respond-async;"],
        [",, respond-async"],
        ['return=minimal; of="some, thing;", respond-async'],
        ["what is this, respond-async"],
        ["respond-async, respond-async=no"],
    ],
)
def test_the_preference_is_found(lines: list[str]) -> None:
    assert prefers(lines, NAME)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["respond-asynchronously"],
        ["respond async"],
        ['"respond-async"'],
        ['wait="10, respond-async"'],
        ['wait="\\", respond-async"'],
        ["respond-async=no, respond-async"],
        ["return=respond-async"],
        ["wait; respond-async"],
        ["respond-async " + "," * CHARACTERS_MAX],
    ],
)
def test_what_only_looks_like_it_is_not(lines: list[str]) -> None:
    assert not prefers(lines, NAME)


@given(st.lists(st.text(alphabet='respond-async=";,\\ \t', max_size=200), max_size=5))
def test_any_header_has_an_answer_at_once(lines: list[str]) -> None:
    assert prefers(lines, NAME) in (True, False)
    # A quoted text is closed before, and its comma separates nothing.
    assert prefers(["respond-async", *lines], NAME)
