"""If-None-Match as clients, caches and proxies really write it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Scope

from servicekit.http.etag import is_current, strong_etag

TAG = '"0123abcd"'


def scope(*lines: str) -> Scope:
    return {"headers": [(b"if-none-match", line.encode("latin-1")) for line in lines] + [(b"accept", TAG.encode())]}


@pytest.mark.parametrize(
    "lines",
    [
        [TAG],
        [f"W/{TAG}"],
        [f" {TAG} "],
        [f'"x",{TAG}'],
        [f'{TAG},"x"'],
        [f'"x", W/{TAG} , "y"'],
        [f'"a,b",{TAG}'],  # a comma within a tag
        [f'"",{TAG}'],
        [f",, {TAG},"],
        ['"x"', TAG],
        [TAG, '"x"'],
        ["", TAG],
        ['"0123abcd-gzip"'],
        ['W/"0123abcd-gzip"'],
        ['"0123abcd--gzip"'],
        ['"0123abcd-br", "x"'],
        ['"0123abcd-zstd"'],
        ["*"],
        [" * "],
        [f"{TAG}, nonsense"],
    ],
)
def test_the_client_has_it(lines: list[str]) -> None:
    assert is_current(scope(*lines), TAG)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ['"other"'],
        ['"0123ABCD"'],
        ["0123abcd"],
        [f"{TAG}x"],
        [f"x{TAG}"],
        [f"w/{TAG}"],
        [f"W/ {TAG}"],
        ['"*"'],
        ["**"],
        ['"0123abcd'],
        ['"0123 abcd"'],
        ['"0123abcd-gzip-gzip2"'],
        ['"0123abcdgzip"'],
        ['"-gzip"'],
        [f"nonsense, {TAG}"],  # from there on nothing is read: the whole response is never wrong
        [f'"x" {TAG}'],
    ],
)
def test_the_client_does_not_have_it(lines: list[str]) -> None:
    assert not is_current(scope(*lines), TAG)


@example('"a"\n')
@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_header_is_read_to_its_end(line: str) -> None:
    assert is_current(scope(line), TAG) in (True, False)


_TAGS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=6)


@given(st.lists(_TAGS, max_size=5), st.integers(0, 5), st.sampled_from([",", ", ", " ,,\t"]))
def test_a_tag_is_found_wherever_it_stands_in_a_list(others: list[str], place: int, comma: str) -> None:
    members = [f'"{other}"' for other in others]
    assert is_current(scope(comma.join(members)), TAG) == (TAG in members)
    members.insert(place, TAG)
    assert is_current(scope(comma.join(members)), TAG)


def test_a_strong_tag_differs_wherever_a_body_does() -> None:
    assert strong_etag(b"1") == strong_etag(b"1")
    assert len({strong_etag(body) for body in (b"", b"1", b"2", b"11")}) == 4
    assert is_current(scope(strong_etag(b"1")), strong_etag(b"1"))
