"""The fact tables of this database, as the catalogue lists them, and the names of the tables around each."""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from psycopg2 import sql

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

FACT_TABLES = """
    SELECT fact, group_columns, sum_columns, rollups, extreme_columns, rollup_group_columns, presence_column,
           cell_column, person_column, person_table, presence_follows, type_column, type_table
      FROM maintenance.fact_table
     ORDER BY fact
"""

# The values of `cell_column` that one row of a rollup has, as maintenance.add_to_retired counts them.
CELLS = 32

# The rollups that have all events of a project, those with the fewest rows first.
_SOONEST_FIRST = ("total", "day", "quarter_hour")


class Aggregate(StrEnum):
    """How the values of one measure are put together, as SQL calls it."""

    SUM = "sum"
    MIN = "min"
    MAX = "max"


class Measure(NamedTuple):
    """A column of the rollups, and how it is made of facts; only the number of events is made of no column.

    With a `cell` it is the number of the events whose value of the column has this remainder.
    """

    name: str
    aggregate: Aggregate
    column: str | None = None
    cell: int | None = None


class FactTable(NamedTuple):
    """One row of the catalogue: init.sql, section 5, says what each column means."""

    fact: str
    group_columns: list[str]
    sum_columns: list[str]
    rollups: list[str]
    extreme_columns: list[str]
    rollup_group_columns: Mapping[str, list[str]]
    presence_column: str | None
    cell_column: str | None
    person_column: str | None
    person_table: str | None
    presence_follows: bool
    type_column: str | None
    type_table: str | None

    @property
    def has_presences_of_persons(self) -> bool:
        """Whether presences leave when a person is erased."""
        return self.presence_column is not None and self.presence_column == self.person_column

    @property
    def measures(self) -> list[Measure]:
        """The columns of a rollup that are compared with the facts."""
        sums = [Measure(f"{column}_sum", Aggregate.SUM, column) for column in self.sum_columns]
        extremes = [
            Measure(f"{column}_{aggregate}", aggregate, column)
            for column in self.extreme_columns
            for aggregate in (Aggregate.MIN, Aggregate.MAX)
        ]
        cells = [Measure(f"cell_{n}", Aggregate.SUM, self.cell_column, n) for n in range(CELLS)]
        return [Measure("event_count", Aggregate.SUM), *sums, *extremes, *(cells if self.cell_column else ())]

    @property
    def has_many_groups(self) -> bool:
        """Whether the facts are counted by more than the project and one column."""
        return len(self.group_columns) > 2  # noqa: PLR2004

    @property
    def shortest(self) -> str:
        """The rollup from which all events are summed soonest."""
        return next(each for each in _SOONEST_FIRST if each in self.rollups)

    def groups_of(self, rollup: str) -> list[str]:
        """The columns that a rollup is counted by."""
        return list(self.rollup_group_columns.get(rollup, self.group_columns))

    def table(self, part: str | None = None) -> sql.Identifier:
        """The fact table, or the table `<fact>_<part>` beside it."""
        return sql.Identifier("public", self.fact if part is None else f"{self.fact}_{part}")


def read_fact_tables(conn: Connection) -> list[FactTable]:
    """Return all fact tables, ordered by name. Commits."""
    with conn:
        return fetch_all(conn, FACT_TABLES, {}, FactTable)


def columns(names: list[str]) -> sql.Composed:
    """Column names, separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, names))
