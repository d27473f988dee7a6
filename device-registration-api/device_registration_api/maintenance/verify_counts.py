"""Compares every count with the facts it was made of, for every fact table in one snapshot, and names each drift."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any, NamedTuple

from psycopg2 import sql
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from contract.time_series import MINUTES_KEPT
from device_registration_api.maintenance.catalogue import FACT_TABLES, FactTable, columns
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

STATEMENT_SECONDS_MAX = 3600

# Taken before the snapshot: a week that is dropped after it would be missing in the facts and in <fact>_retired.
KEEP_PARTITIONS = sql.SQL("LOCK TABLE {facts} IN ACCESS SHARE MODE")

# The printed names of the sources that differ from the names of their tables.
LABELS = {"quarter_hour": "quarter hours", "day": "days"}

# One row for each group, with its sums in the order of the sources.
COUNTS = sql.SQL("""
    SELECT ARRAY[{group_texts}], {sums}
      FROM ({sources}) AS counted
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
     GROUP BY {group_columns}, day
    HAVING {differ}
     ORDER BY {group_columns}, day
""")


class Counts(NamedTuple):
    """The sums of one measure of one group since the beginning, by source: facts, retired, then the rollups."""

    table: FactTable
    group: tuple[str, ...]
    measure: str
    by_source: dict[str, Decimal]

    @property
    def title(self) -> str:
        """The fact table, with the measure if it is not the number of events."""
        return self.table.fact if self.measure == "event_count" else f"{self.table.fact}, {self.measure}"


class Day(NamedTuple):
    """One day (UTC) of one group whose minutes and quarter hours do not agree."""

    table: FactTable
    group: tuple[str, ...]
    measure: str
    day: date
    minutes: Decimal
    quarter_hours: Decimal


class Verdict(NamedTuple):
    """What was compared, and one sentence for each drift; no drift means that every count is exact."""

    tables: list[str]
    counts: list[Counts]
    drifts: list[str]


def verify_counts(conn: Connection) -> Verdict:
    """Compare in one read-only snapshot: facts + retired = each rollup; minutes = quarter hours.

    It reads every fact, so it takes a while on a large database. It delays only the creation and the removal of
    partitions. On a single server the snapshot is sufficient: a fact and its counts are committed together, so the
    snapshot shows both or neither. On a cluster, each node has its own snapshot, so the facts would have to be locked
    against writers until all snapshots are taken. That lock needs a right (UPDATE or DELETE) that this login must not
    have.

    Raises psycopg2.Error when the server cannot be reached or lacks the schema.
    """
    with conn:
        tables = fetch_all(conn, FACT_TABLES, {}, FactTable)
    conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
    counts: list[Counts] = []
    days: list[Day] = []
    with conn:
        for table in tables:
            execute(conn, KEEP_PARTITIONS.format(facts=table.table()), {})
        for table in tables:
            counts += _counts(conn, table)
            days += _days_that_differ(conn, table)
    return Verdict([each.fact for each in tables], counts, [*_count_drifts(counts), *map(_day_drift, days)])


def printed(counts: Sequence[Counts]) -> str:
    """Return the counts as text for a terminal: one aligned table for each fact table and measure."""
    return "\n".join(
        line for title, rows in groupby(counts, lambda each: each.title) for line in (title, *_aligned(list(rows)))
    )


def _counts(conn: Connection, table: FactTable) -> Iterator[Counts]:
    # Minutes expire, so they are compared by day instead.
    sources = ["facts", "retired", *(each for each in table.rollups if each != "minute")]
    groups = columns(table.group_columns)
    facts = FACTS.format(
        group_columns=groups,
        facts=table.table(),
        measures=_listed([sql.SQL("count(*) AS event_count"), *map(_sum_over_facts, table.sum_columns)]),
    )
    stored = (
        STORED.format(
            group_columns=groups, source=sql.Literal(each), measures=columns(table.measures), table=table.table(each)
        )
        for each in sources[1:]
    )
    statement = COUNTS.format(
        group_texts=_texts(table.group_columns),
        sums=_listed(_sums_by_source(measure, sources) for measure in table.measures),
        sources=sql.SQL(" UNION ALL ").join([facts, *stored]),
        group_columns=groups,
    )
    for group, *sums in fetch_all(conn, statement, {}, _cells):
        for measure, by_source in zip(table.measures, sums, strict=True):
            yield Counts(table, tuple(group), measure, dict(zip(sources, by_source, strict=True)))


def _days_that_differ(conn: Connection, table: FactTable) -> Iterator[Day]:
    if not {"minute", "quarter_hour"} <= set(table.rollups):
        return
    sources = ["minute", "quarter_hour"]
    differ = (
        sql.SQL("{sums}[1] <> {sums}[2]").format(sums=_sums_by_source(measure, sources)) for measure in table.measures
    )
    statement = DAYS_THAT_DIFFER.format(
        group_texts=_texts(table.group_columns),
        sums=_listed(_sums_by_source(measure, sources) for measure in table.measures),
        group_columns=columns(table.group_columns),
        measures=columns(table.measures),
        minutes=table.table("minute"),
        quarter_hours=table.table("quarter_hour"),
        differ=sql.SQL(" OR ").join(differ),
    )
    for group, day, *sums in fetch_all(conn, statement, {"days": DAYS_COMPARED}, _cells):
        for measure, (minutes, quarter_hours) in zip(table.measures, sums, strict=True):
            if minutes != quarter_hours:
                yield Day(table, tuple(group), measure, day, minutes, quarter_hours)


def _cells(*cells: Any) -> tuple[Any, ...]:  # noqa: ANN401 - arrays and dates, as the statement lists them
    return cells


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _texts(names: Sequence[str]) -> sql.Composed:
    return _listed(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)


def _sum_over_facts(column: str) -> sql.Composed:
    # As in retire_partition: the text of a float is exact.
    return sql.SQL("sum({}::text::numeric) AS {}").format(sql.Identifier(column), sql.Identifier(f"{column}_sum"))


def _sums_by_source(measure: str, sources: Sequence[str]) -> sql.Composed:
    sums = (
        sql.SQL("coalesce(sum({}) FILTER (WHERE source = {}), 0)").format(sql.Identifier(measure), sql.Literal(source))
        for source in sources
    )
    return sql.SQL("(ARRAY[{}]::numeric[])").format(_listed(sums))


def _aligned(rows: Sequence[Counts]) -> Iterator[str]:
    groups = (name.removesuffix("_id").replace("_", " ") for name in rows[0].table.group_columns)
    cells = [
        (*groups, *(LABELS.get(source, source) for source in rows[0].by_source)),
        *((*each.group, *map(str, each.by_source.values())) for each in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # Numbers to the right, the names of a group to the left; its first is the project's number.
    names = range(1, len(rows[0].table.group_columns))
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if at in names else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )


def _count_drifts(counts: Iterable[Counts]) -> Iterator[str]:
    for each in counts:
        facts, retired, *rollups = each.by_source.items()
        expected = facts[1] + retired[1]
        for source, found in rollups:
            if found != expected:
                yield (
                    f"{_subject(each)}: {LABELS.get(source, source)} {found}, facts + retired {expected} "
                    f"({found - expected:+f})"
                )


def _day_drift(each: Day) -> str:
    return (
        f"{_subject(each, str(each.day))}: minutes {each.minutes}, "
        f"quarter hours {each.quarter_hours} ({each.minutes - each.quarter_hours:+f})"
    )


def _subject(each: Counts | Day, *more: str) -> str:
    """As in "auth_event, project 1, iOS"; a measure other than the number of events is named, too."""
    measure = [each.measure] if each.measure != "event_count" else []
    return ", ".join([each.table.fact, f"project {each.group[0]}", *each.group[1:], *more, *measure])
