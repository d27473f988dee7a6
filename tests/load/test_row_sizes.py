"""The sizes that docs/scale.md tells are those of every table of a kind that has rows, with all partitions."""

import pytest

from load.row_sizes import TableSize, Wal, fill, table, table_sizes
from load.write_loads import AUTH_EVENTS, MEASUREMENTS, WriteLoad
from tests.database import rows
from tests.servers import MigratedDatabase


@pytest.mark.parametrize("load", [AUTH_EVENTS, MEASUREMENTS], ids=lambda load: load.fact)
def test_each_table_of_a_kind_has_a_size_that_is_that_of_its_rows(database: MigratedDatabase, load: WriteLoad) -> None:
    fill(database.admin_url, load, 2_000)
    sizes = {each.table: each for each in table_sizes(database.admin_url, load)}

    assert sizes[load.fact].rows == 2_000
    assert sizes.keys() >= {load.fact, f"{load.fact}_quarter_hour"}
    assert all(each.heap > 0 and each.indexes > 0 for each in sizes.values())
    ((columns,),) = rows(database, f"SELECT avg(pg_column_size(f.*)) FROM {load.fact} AS f")  # noqa: S608 - a constant
    assert float(str(columns)) < sizes[load.fact].bytes_a_row < 10 * float(str(columns))


def test_a_table_of_sizes_has_bytes_a_row() -> None:
    shown = table([TableSize("fact", 100, 9_000, 6_000)], [Wal("`fact`", 200.4, None)])
    assert "| `fact` | 100 | 90 | 60 | **150** |" in shown
    assert "| `fact` | 200 |  |" in shown
