"""The fact tables of this database, as the catalogue lists them, and the names of the tables around each."""

from typing import NamedTuple

from psycopg2 import sql

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

FACT_TABLES = """
    SELECT fact, group_columns, sum_columns, rollups
      FROM maintenance.fact_table
     ORDER BY fact
"""


class FactTable(NamedTuple):
    """One row of the catalogue: init.sql, section 5, says what each column means."""

    fact: str
    group_columns: list[str]
    sum_columns: list[str]
    rollups: list[str]

    @property
    def measures(self) -> list[str]:
        """The columns of a rollup that are compared with the facts."""
        return ["event_count", *(f"{column}_sum" for column in self.sum_columns)]

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
