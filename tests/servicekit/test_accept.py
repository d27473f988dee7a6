"""Which media type a client prefers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.http.accept import preferred

OFFERED = ("application/json", "text/csv")


def chosen(*lines: str) -> str:
    return preferred({"headers": [(b"accept", line.encode("latin-1")) for line in lines]}, OFFERED)


@pytest.mark.parametrize(
    "lines",
    [
        ["text/csv"],
        ["TEXT/CSV"],
        ["text/*"],
        ["text/csv;q=0.1"],
        ["text/csv, application/json;q=0.9"],
        ["application/json;q=0.9", "text/csv"],
        ["text/csv;header=present"],
        ["*/*;q=0.1, text/csv"],
        ["application/json;q=0, */*"],
    ],
)
def test_csv_is_preferred(lines: list[str]) -> None:
    assert chosen(*lines) == "text/csv"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["*/*"],
        ["application/json"],
        ["application/*, text/*"],  # as good as each other: the first
        ["application/json, text/csv;q=0.9"],
        ["text/csv;q=0.5, */*"],
        ["text/csv;q=0"],
        ["text/html"],
        ["csv"],
        ["text/csv;q=2"],
        ["text/csv;q=x"],
        ["text/csv;q=nan"],
        ["text/csv;q=-1"],
        [";;,,"],
    ],
)
def test_json_is_what_everybody_else_gets(lines: list[str]) -> None:
    assert chosen(*lines) == "application/json"


@given(st.text(st.characters(max_codepoint=255), max_size=40))
def test_any_header_chooses_something(line: str) -> None:
    assert chosen(line) in OFFERED
