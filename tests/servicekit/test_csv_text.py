"""No text of a client is a formula in a spreadsheet, and each can be had back as it was sent."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servicekit.http.csv_text import as_sent, csv_text, harmless

texts = st.text() | st.text(alphabet="=+-@'\t\r\n; \",a1＝＠", max_size=12)  # noqa: RUF001 - the wide forms are meant
# Where a spreadsheet may begin a cell, whichever of these it splits at.
FORMULA = re.compile("(^|[;\t\r\n])[=+\\-@＝＋－＠]")  # noqa: RUF001


@given(texts)
def test_no_part_is_a_formula_and_the_text_comes_back(text: str) -> None:
    cell = harmless(text)
    assert not FORMULA.search(cell)
    assert as_sent(cell) == text


@given(st.lists(texts, min_size=1, max_size=4))
def test_a_row_is_read_as_it_was_written(row: list[str]) -> None:
    [found] = csv.reader(io.StringIO(csv_text([row]), newline=""))
    # A line with one empty field is `""`, and with none it is empty.
    assert [as_sent(cell) for cell in found] == row


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("a;=1", "a;'=1"),
        ("'quoted", "''quoted"),
        ("Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)"),
        (-1.5, "-1.5"),
        (-3, "-3"),
        (None, ""),
    ],
)
def test_only_texts_are_changed_and_only_where_it_is_needed(cell: object, written: str) -> None:
    assert csv_text([["x", cell]]) == f"x,{written}\r\n"
