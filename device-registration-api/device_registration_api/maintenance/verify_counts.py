"""Compares every count with the facts it was made of, for every fact table in one snapshot, and names each drift."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import date
from decimal import Context, Decimal
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from contract.time_series import MINUTES_KEPT
from device_registration_api.citus.state import distributed_tables
from device_registration_api.maintenance.catalogue import CELLS, FACT_TABLES, Aggregate, FactTable, Measure, columns
from device_registration_api.maintenance.verify_presences import presence_drifts
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.process.progress import NOT_SHOWN, Progress

STATEMENT_SECONDS_MAX = 3600

# Tables that were filled a moment ago have no statistics yet, and look empty to the planner. It would look through all
# presences for each fact then: 10,000 new ones took minutes.
READ_IN_BULK = "SET LOCAL enable_nestloop = off"
# Taken before the snapshot: a week that is dropped after it would be missing in the facts and in <fact>_retired.
KEEP_PARTITIONS = sql.SQL("LOCK TABLE {facts} IN ACCESS SHARE MODE")

# On a cluster each node has a snapshot of its own, taken by its first statement. Over one connection to a node, the
# later statements have the same one.
HOLD_WRITERS = "SELECT maintenance.hold_writers(%(fact)s)::text"
ONE_CONNECTION_A_NODE = "SET LOCAL citus.max_adaptive_executor_pool_size = 1"
OPEN_SNAPSHOTS = sql.SQL("SELECT EXISTS (SELECT 1 FROM {facts})")

# The printed names of the sources that differ from the names of their tables.
LABELS = {
    "quarter_hour": "quarter hours",
    "day": "days",
    "endpoint_quarter_hour": "endpoints' quarter hours",
    "endpoint_day": "endpoints' days",
}

# One row for each group, with each measure in the order of the sources. The rows of a deleted project are removed table
# by table, so its counts do not agree meanwhile.
COUNTS = sql.SQL("""
    SELECT ARRAY[{group_texts}], {sums}
      FROM ({sources}) AS counted
     WHERE project_id NOT IN (SELECT project_id FROM project WHERE deleted_at IS NOT NULL)
     GROUP BY {group_columns}
     ORDER BY {group_columns}
""")
FACTS = sql.SQL("SELECT {group_columns}, 'facts' AS source, {measures} FROM {facts} GROUP BY {group_columns}")
STORED = sql.SQL("SELECT {group_columns}, {source} AS source, {measures} FROM {table}")

# Whole days (UTC), inside the time that minutes are kept.
DAYS_COMPARED = MINUTES_KEPT.days - 1
DAYS_THAT_DIFFER = sql.SQL("""
    SELECT ARRAY[{group_texts}], (bucket_start AT TIME ZONE 'UTC')::date AS day, {sums}
      FROM (SELECT {group_columns}, bucket_start, 'minute' AS source, {measures} FROM {minutes}
             UNION ALL
            SELECT {group_columns}, bucket_start, 'quarter_hour' AS source, {measures} FROM {quarter_hours}) AS counted
     WHERE bucket_start >= date_trunc('day', now(), 'UTC') - %(days)s * interval '1 day'
       AND bucket_start < date_trunc('day', now(), 'UTC')
       AND project_id NOT IN (SELECT project_id FROM project WHERE deleted_at IS NOT NULL)
     GROUP BY {group_columns}, day
    HAVING {differ}
     ORDER BY {group_columns}, day
""")


# The sources that every rollup is compared with.
_TRUTH = ("facts", "retired")
# A sum of floats may have 309 digits before the point and 1,074 after it; the default context keeps 28 of them.
_EXACT = Context(prec=2_000)
_TOGETHER: Mapping[Aggregate, Callable[[Sequence[Decimal]], Decimal]] = {
    Aggregate.SUM: lambda parts: reduce(_EXACT.add, parts, Decimal(0)),
    Aggregate.MIN: min,
    Aggregate.MAX: max,
}


class Counts(NamedTuple):
    """One measure of one group since the beginning, by source: facts, retired, then the rollups of these groups.

    An extreme of nothing is None.
    """

    table: FactTable
    group_columns: list[str]
    group: tuple[str, ...]
    measure: Measure
    by_source: dict[str, Decimal | None]

    @property
    def title(self) -> str:
        """The fact table, with the measure if it is not the number of events."""
        return self.table.fact if self.measure.column is None else f"{self.table.fact}, {self.measure.name}"

    @property
    def expected(self) -> Decimal | None:
        """What each rollup should have: facts and retired together."""
        return _together(self.measure, (value for source, value in self.by_source.items() if source in _TRUTH))


class Day(NamedTuple):
    """One day (UTC) of one group whose minutes and quarter hours do not agree."""

    table: FactTable
    group: tuple[str, ...]
    measure: Measure
    day: date
    minutes: Decimal | None
    quarter_hours: Decimal | None


class Verdict(NamedTuple):
    """What was compared, and one sentence for each drift; no drift means that every count is exact."""

    tables: list[str]
    counts: list[Counts]
    drifts: list[str]


def verify_counts(conn: Connection, connect_again: Callable[[], Connection], progress: Progress = NOT_SHOWN) -> Verdict:
    """Compare in one read-only snapshot: facts + retired = each rollup; minutes = quarter hours; who was present.

    It reads every fact, so it takes a while on a large database. It delays only the creation and the removal of
    partitions. On a single server the snapshot is sufficient: a fact and its counts are committed together, so the
    snapshot shows both or neither. On a cluster, the connection that `connect_again` makes holds the writers until all
    nodes have taken their snapshots, which takes milliseconds.

    Raises psycopg2.Error when the server cannot be reached or lacks the schema.
    """
    with conn:
        tables = fetch_all(conn, FACT_TABLES, {}, FactTable)
        there = distributed_tables(conn)
        distributed = [table for table in tables if table.fact in there]
    conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
    counts: list[Counts] = []
    days: list[Day] = []
    presences: list[str] = []
    with conn:
        execute(conn, READ_IN_BULK, {})
        if distributed:
            execute(conn, ONE_CONNECTION_A_NODE, {})
        with _writers_held(connect_again, distributed):
            for table in tables:
                execute(conn, KEEP_PARTITIONS.format(facts=table.table()), {})
            for table in distributed:
                fetch_all(conn, OPEN_SNAPSHOTS.format(facts=table.table()), {}, bool)
        progress.expect(len(tables))
        for table in tables:
            progress.doing(f"reading {table.fact}")
            counts += _counts(conn, table)
            days += _days_that_differ(conn, table)
            presences += presence_drifts(conn, table)
            progress.advance()
    drifts = [*_count_drifts(counts), *map(_day_drift, days), *presences]
    return Verdict([each.fact for each in tables], counts, drifts)


@contextmanager
def _writers_held(connect_again: Callable[[], Connection], tables: Sequence[FactTable]) -> Iterator[None]:
    """Let no transaction change the facts of these tables within the block; without a table, do nothing."""
    if not tables:
        yield
        return
    with closing(connect_again()) as holder, holder:
        for table in tables:
            fetch_all(holder, HOLD_WRITERS, {"fact": table.fact}, str)
        yield


def printed(counts: Sequence[Counts]) -> str:
    """Return the counts as text for a terminal: one aligned table for each fact table and measure.

    Facts that are counted by several columns have very many groups: a line is the total of a project then. A drift
    names its group, and a cell is printed only as a drift.
    """
    tables: dict[tuple[str, tuple[str, ...]], list[Counts]] = {}
    for each in counts:  # the measures of a group follow each other
        if each.measure.cell is None:
            tables.setdefault((each.title, tuple(each.group_columns)), []).append(each)
    return "\n".join(
        line
        for (title, _), rows in tables.items()
        for line in (title, *_aligned(_by_project(rows) if rows[0].table.has_many_groups else rows))
    )


def _counts(conn: Connection, table: FactTable) -> Iterator[Counts]:
    # Minutes expire, so they are compared by day instead. Rollups of the same groups are compared together.
    rollups = [each for each in table.rollups if each != "minute"]
    for group_columns, alike in groupby(sorted(rollups, key=table.groups_of), table.groups_of):
        yield from _counts_by(conn, table, group_columns, list(alike))


def _counts_by(
    conn: Connection, table: FactTable, group_columns: list[str], rollups: Sequence[str]
) -> Iterator[Counts]:
    sources = [*_TRUTH, *rollups]
    groups = columns(group_columns)
    facts = FACTS.format(group_columns=groups, facts=table.table(), measures=_listed(map(_over_facts, table.measures)))
    stored = (
        STORED.format(
            group_columns=groups,
            source=sql.Literal(each),
            measures=columns([measure.name for measure in table.measures]),
            table=table.table(each),
        )
        for each in sources[1:]
    )
    statement = COUNTS.format(
        group_texts=_texts(group_columns),
        sums=_listed(_by_source(measure, sources) for measure in table.measures),
        sources=sql.SQL(" UNION ALL ").join([facts, *stored]),
        group_columns=groups,
    )
    for group, *values in fetch_all(conn, statement, {}, _cells):
        for measure, by_source in zip(table.measures, values, strict=True):
            yield Counts(table, group_columns, tuple(group), measure, dict(zip(sources, by_source, strict=True)))


def _days_that_differ(conn: Connection, table: FactTable) -> Iterator[Day]:
    if not {"minute", "quarter_hour"} <= set(table.rollups):
        return
    sources = ["minute", "quarter_hour"]
    group_columns = table.groups_of("minute")
    differ = (
        sql.SQL("{values}[1] IS DISTINCT FROM {values}[2]").format(values=_by_source(measure, sources))
        for measure in table.measures
    )
    statement = DAYS_THAT_DIFFER.format(
        group_texts=_texts(group_columns),
        sums=_listed(_by_source(measure, sources) for measure in table.measures),
        group_columns=columns(group_columns),
        measures=columns([measure.name for measure in table.measures]),
        minutes=table.table("minute"),
        quarter_hours=table.table("quarter_hour"),
        differ=sql.SQL(" OR ").join(differ),
    )
    for group, day, *values in fetch_all(conn, statement, {"days": DAYS_COMPARED}, _cells):
        for measure, (minutes, quarter_hours) in zip(table.measures, values, strict=True):
            if minutes != quarter_hours:
                yield Day(table, tuple(group), measure, day, minutes, quarter_hours)


def _by_project(counts: Iterable[Counts]) -> list[Counts]:
    """Return one total for each project: the groups are ordered by it."""
    totals = []
    for project, groups in groupby(counts, lambda each: each.group[0]):
        first, *others = groups
        by_source = {
            source: _together(first.measure, [each.by_source[source] for each in (first, *others)])
            for source in first.by_source
        }
        totals.append(first._replace(group_columns=first.group_columns[:1], group=(project,), by_source=by_source))
    return totals


def _together(measure: Measure, parts: Iterable[Decimal | None]) -> Decimal | None:
    known = [part for part in parts if part is not None]
    return _TOGETHER[measure.aggregate](known) if known else None


def _cells(*cells: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays and dates, as the statement lists them
    return cells


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _texts(names: Sequence[str]) -> sql.Composed:
    return _listed(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)


def _over_facts(measure: Measure) -> sql.Composed:
    if measure.column is None:
        return sql.SQL("count(*) AS {}").format(sql.Identifier(measure.name))
    if measure.cell is not None:
        return sql.SQL("count(*) FILTER (WHERE mod({column}, {cells}) = {cell}) AS {name}").format(
            column=sql.Identifier(measure.column),
            cells=sql.Literal(CELLS),
            cell=sql.Literal(measure.cell),
            name=sql.Identifier(measure.name),
        )
    # As in add_to_retired: the text of a float is exact.
    return sql.SQL("{aggregate}({column}::text::numeric) AS {name}").format(
        aggregate=sql.SQL(measure.aggregate.value),
        column=sql.Identifier(measure.column),
        name=sql.Identifier(measure.name),
    )


def _by_source(measure: Measure, sources: Sequence[str]) -> sql.Composed:
    """One array with the measure of each source; a sum of nothing is 0, an extreme of nothing is NULL."""
    nothing = sql.Literal(0 if measure.aggregate is Aggregate.SUM else None)
    values = (
        sql.SQL("coalesce({aggregate}({name}) FILTER (WHERE source = {source}), {nothing})").format(
            aggregate=sql.SQL(measure.aggregate.value),
            name=sql.Identifier(measure.name),
            source=sql.Literal(source),
            nothing=nothing,
        )
        for source in sources
    )
    return sql.SQL("(ARRAY[{}]::numeric[])").format(_listed(values))


def _aligned(rows: Sequence[Counts]) -> Iterator[str]:
    groups = (name.removesuffix("_id").replace("_", " ") for name in rows[0].group_columns)
    cells = [
        (*groups, *(LABELS.get(source, source) for source in rows[0].by_source)),
        *((*each.group, *map(_text, each.by_source.values())) for each in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # Numbers to the right, the names of a group to the left; its first is the project's number.
    names = range(1, len(rows[0].group_columns))
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if at in names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


def _count_drifts(counts: Iterable[Counts]) -> Iterator[str]:
    for each in counts:
        for source, found in each.by_source.items():
            if source not in _TRUTH and found != each.expected:
                yield (
                    f"{_subject(each)}: {LABELS.get(source, source)} {_text(found)}, "
                    f"facts + retired {_text(each.expected)}{_difference(found, each.expected)}"
                )


def _day_drift(each: Day) -> str:
    return (
        f"{_subject(each, str(each.day))}: minutes {_text(each.minutes)}, "
        f"quarter hours {_text(each.quarter_hours)}{_difference(each.minutes, each.quarter_hours)}"
    )


def _difference(found: Decimal | None, expected: Decimal | None) -> str:
    return "" if found is None or expected is None else f" ({found - expected:+f})"


def _text(value: Decimal | None) -> str:
    return "none" if value is None else str(value)


def _subject(each: Counts | Day, *more: str) -> str:
    """As in "auth_event, project 1, iOS"; a measure other than the number of events is named, too."""
    measure = [] if each.measure.column is None else [each.measure.name]
    return ", ".join([each.table.fact, f"project {each.group[0]}", *each.group[1:], *more, *measure])
