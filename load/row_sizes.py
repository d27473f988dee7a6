"""Bytes of disk and of write-ahead log for each kind of event: `python -m load.bench "row sizes"` (docs/scale.md).

Rows are measured in tables that were filled as a year of use fills them, and the log while the product itself records.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from load import api_requests, fills, measurements, reads, store_events
from load.baselines import BATCH_ROWS
from load.environment import BenchEnvironment, Product
from load.figures import Figure
from load.flushes import Caller, make_events
from load.write_loads import API_REQUESTS, AUTH_EVENTS, MEASUREMENTS, STORE_EVENTS, WRITE_LOADS, WriteLoad
from load.writes import post, post_batches

REPORT = Path("build/bench/row_sizes.md")
ROWS = 100_000
_CLIENTS, _KEYED_FORWARDS, _KEYED_EVENTS = 64, 100, 100

# A fact, the tables of what is counted of it, and the identities; a partitioned table with its partitions.
_SIZES = """
    SELECT relname,
           pg_table_size(oid) + COALESCE(partitions.heap, 0),
           pg_indexes_size(oid) + COALESCE(partitions.indexes, 0)
      FROM pg_class
      LEFT JOIN (SELECT inhparent, sum(pg_table_size(inhrelid)) AS heap, sum(pg_indexes_size(inhrelid)) AS indexes
                   FROM pg_inherits
                  GROUP BY 1) AS partitions ON inhparent = oid
     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
       AND (relname = '{fact}' OR relname LIKE '{fact}\\_%' OR relname IN ('idempotency', 'device_latest'))
     ORDER BY relname
"""
_WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


def _fill_auth_events(url: str, rows: int) -> None:
    fills.execute(url, *reads.fill_statements(rows))


def _fill_measurements(url: str, rows: int) -> None:
    measurements.add_devices(url)
    measurements.fill(url, rows, f"2 + n % {measurements.DEVICES}", "device_number > 1")


_FILLS: Mapping[str, Callable[[str, int], None]] = MappingProxyType(
    {
        AUTH_EVENTS.fact: _fill_auth_events,
        API_REQUESTS.fact: api_requests.fill,
        STORE_EVENTS.fact: store_events.fill,
        MEASUREMENTS.fact: _fill_measurements,
    }
)


class TableSize(NamedTuple):
    """Bytes of one table with its partitions."""

    table: str
    rows: int
    heap: int
    indexes: int

    @property
    def bytes_a_row(self) -> float:
        """With the indexes."""
        return (self.heap + self.indexes) / self.rows


class Wal(NamedTuple):
    """Bytes of write-ahead log for each event."""

    name: str
    single: float
    batch: float | None


def row_sizes(environment: BenchEnvironment, seconds: int) -> list[Figure]:
    """A table of every kind; sizes have no floor."""
    sizes: list[TableSize] = []
    with environment.product("wal") as product:
        logs = [_keyed_wal(environment, product)]
        sizes += [
            each
            for each in table_sizes(environment.server.url(product.name), AUTH_EVENTS)
            if each.table == "idempotency"
        ]
        logs += [_wal(environment, product, load, seconds) for load in WRITE_LOADS]
    for load in WRITE_LOADS:
        url, *_ = environment.database(load.fact)
        fill(url, load, ROWS)
        sizes += table_sizes(url, load)
    report = table(sizes, logs)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(report + "\n")
    print(f"{report}\n")
    return []


def fill(url: str, load: WriteLoad, rows: int) -> None:
    """Store events of a kind, and what is counted of them, in a database that has none."""
    _FILLS[load.fact](url, rows)


def table_sizes(url: str, load: WriteLoad) -> Iterator[TableSize]:
    """Of the tables of a kind that have rows."""
    fills.execute(url, "VACUUM (ANALYZE)")
    for name, heap, indexes in fills.execute(url, _SIZES.format(fact=load.fact)):
        ((rows,),) = fills.execute(url, f"SELECT count(*) FROM {name}")  # noqa: S608 - from the catalogue
        if rows:
            yield TableSize(str(name), int(str(rows)), int(str(heap)), int(str(indexes)))


def table(sizes: Sequence[TableSize], logs: Sequence[Wal]) -> str:
    """Both as Markdown tables."""
    lines = [
        "| table | rows | bytes a row | its indexes | together |",
        "|---|---:|---:|---:|---:|",
        *(
            f"| `{each.table}` | {each.rows:,} | {each.heap / each.rows:,.0f} | {each.indexes / each.rows:,.0f} | "
            f"**{each.bytes_a_row:,.0f}** |"
            for each in sizes
        ),
        "",
        f"| WAL, bytes an event | {_CLIENTS} clients, one event a request | batches of {BATCH_ROWS:,} |",
        "|---|---:|---:|",
        *(
            f"| {each.name} | {each.single:,.0f} | {'' if each.batch is None else f'{each.batch:,.0f}'} |"
            for each in logs
        ),
    ]
    return "\n".join(lines)


def _wal(environment: BenchEnvironment, product: Product, load: WriteLoad, seconds: int) -> Wal:
    def written(work: Callable[[], int]) -> float:
        work()  # what is written for the first time after a checkpoint is written as whole pages
        before = _position(environment, product)
        events = work()
        if not events:
            raise ValueError(f"nothing of {load.fact} was answered: the run was too short")
        return (_position(environment, product) - before) / events

    single = written(lambda: post(product, load, clients=_CLIENTS, seconds=seconds).requests)
    batch = written(lambda: BATCH_ROWS * post_batches(product, load, connections=1, seconds=3 * seconds).requests)
    return Wal(f"`{load.fact}`", single, batch)


def _keyed_wal(environment: BenchEnvironment, product: Product) -> Wal:
    caller = Caller(product.private.url, product.private.env["SERVICE_TOKEN"])
    events = make_events(0.0)
    caller.send(events, _KEYED_FORWARDS, _KEYED_EVENTS)
    before = _position(environment, product)
    caller.send(events, _KEYED_FORWARDS, _KEYED_EVENTS)
    used = (_position(environment, product) - before) / (_KEYED_FORWARDS * _KEYED_EVENTS)
    return Wal(f"`{AUTH_EVENTS.fact}` with an Idempotency-Key each, {_KEYED_EVENTS} a transaction", used, None)


def _position(environment: BenchEnvironment, product: Product) -> int:
    ((position,),) = environment.execute(product.name, _WAL)
    return int(str(position))
