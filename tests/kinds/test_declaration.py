"""What a kind of its own costs: the lines of the sample, counted, and its tables as the catalogue promises them."""

from pathlib import Path

from statistics_api.app import FAMILIES
from tests.kinds.parcels.router import PARCELS
from tests.kinds.served_kinds import KINDS

LINES_MAX = 150
DECLARATION = Path(__file__).parent / "parcels"


def lines_in(folder: Path) -> int:
    """Every line that is not blank, of whatever is in it: comments and imports, too."""
    return sum(
        bool(line.strip()) for file in folder.iterdir() if file.is_file() for line in file.read_text().splitlines()
    )


def test_a_kind_with_rollups_of_sums_and_a_returned_row_is_declared_in_fewer_than_150_lines() -> None:
    assert {file.name for file in DECLARATION.iterdir() if file.is_file()} == {
        "schema.sql",
        "events.py",
        "commands.py",
        "router.py",
    }
    assert 100 < lines_in(DECLARATION) < LINES_MAX


def test_every_kind_that_is_served_is_tested() -> None:
    served = {kind.name for family in (*FAMILIES, PARCELS) for kind in family.kinds}
    assert sorted(served) == sorted(kind.name for kind in KINDS)
