"""The tables of docs/scale.md: they are put into their places, and nothing else of the document is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.scale import DOCUMENT, main, stages, with_tables
from load.simulation.costs import read_measured

TABLES = ("predictions", "service times", "row sizes", "stages")
PLACED = "# Title\n\n<!-- table: {} -->\nold\n<!-- end -->\n\nafter\n"


@given(st.text("|-\\1g<0>\n ab"))
def test_a_table_takes_the_place_of_the_last_one(table: str) -> None:
    document = with_tables(PLACED.format("stages"), {"stages": table})
    assert document == f"# Title\n\n<!-- table: stages -->\n\n{table}\n\n<!-- end -->\n\nafter\n"
    assert with_tables(document, {"stages": table}) == document


@pytest.mark.parametrize(
    "document", ["# Title\n", PLACED.format("costs"), "<!-- table: stages -->\n", 2 * PLACED.format("stages")]
)
def test_a_document_without_one_place_for_a_table_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="one place for the table of stages"):
        with_tables(document, {"stages": "| new |"})


def test_the_document_has_a_place_for_each_table() -> None:
    document = with_tables(DOCUMENT.read_text(), {name: f"the table of {name}" for name in TABLES})
    assert all(document.count(f"\nthe table of {name}\n") == 1 for name in TABLES)


def test_each_stage_is_simulated_and_the_first_ones_answer_what_is_offered() -> None:
    rows = [line.split("|") for line in stages(read_measured(), share=0.02).splitlines()[2:]]
    assert [row[1].strip() for row in rows[:2]] == ["10²", "10³"]
    for offered, row in zip((100, 1_000), rows, strict=False):
        assert float(row[3].replace(",", "")) == pytest.approx(offered, rel=0.3)


def test_the_command_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--wirte"]) == 2
    assert "usage" in capsys.readouterr().err
