"""Reads of measurements: SELECT from the `stats` schema and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import LiteralString, NamedTuple

from contract.measurements.events import AXES
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.sql import execute, fetch_all
from statistics_api.cursors import StoredRow
from statistics_api.measurements.periods import Period

# More rows than these are not sorted: see docs/decisions/0032-median-by-bracket.md.
SORTED_ROWS_MAX = 50_000
# How many rows of a sample are neighbours.
_ROWS_AT_A_PLACE = 8

_ROWS: LiteralString = """
    SELECT m.event_id::text, d.device_id, m.x, m.y, m.z, m.occurred_at
      FROM stats.measurement AS m
      JOIN stats.device AS d USING (project_id, device_number)
     WHERE m.project_id = %(project_id)s
       AND m.device_number = %(device_number)s
       AND (%(start)s::timestamptz IS NULL OR m.occurred_at >= %(start)s AND m.received_at >= %(received_start)s)
       AND (%(end)s::timestamptz IS NULL OR m.occurred_at < %(end)s AND m.received_at < %(received_end)s)
       AND (%(before)s::timestamptz IS NULL OR m.occurred_at <= %(before)s
            AND (m.occurred_at, m.event_id) < (%(before)s, %(before_id)s::uuid))
     ORDER BY m.occurred_at DESC, m.event_id DESC
     LIMIT %(limit)s
    OFFSET %(skip)s
"""


def _for_each_axis(template: LiteralString, separator: LiteralString = ", ") -> LiteralString:
    """Return the template once for each axis; `@` stands for its name."""
    repeated: LiteralString = separator.join([template.replace("@", axis) for axis in AXES])
    return repeated


_STORED: LiteralString = _for_each_axis("@_sum, @_min, @_max")
_TOGETHER: LiteralString = _for_each_axis("sum(@_sum) AS @_sum, min(@_min) AS @_min, max(@_max) AS @_max")
# The facts of a project in the period.
_FACTS: LiteralString = """
          FROM stats.measurement AS m
         WHERE m.project_id = %(project_id)s
           AND (%(start)s::timestamptz IS NULL OR m.occurred_at >= %(start)s AND m.received_at >= %(received_start)s)
           AND (%(end)s::timestamptz IS NULL OR m.occurred_at < %(end)s AND m.received_at < %(received_end)s)
"""

# Figures of whole quarters of an hour are sums of what is stored; only the two edges are read row by row. Where
# retention has removed facts of the quarter of an edge, the whole quarter counts.
_FIGURES: LiteralString = f"""
    WITH chosen AS MATERIALIZED (
        SELECT device_number, device_id
          FROM stats.device
         WHERE project_id = %(project_id)s
           AND (%(device_number)s::bigint IS NULL OR device_number = %(device_number)s)
           AND (%(person_id)s::uuid IS NULL OR person_id = %(person_id)s)),
    edge AS MATERIALIZED (
        SELECT device_number, quarter, starts, ends,
               (SELECT coalesce(sum(q.event_count), 0)
                  FROM stats.measurement_quarter_hour AS q
                 WHERE q.project_id = %(project_id)s
                   AND q.device_number = chosen.device_number
                   AND q.bucket_start = quarter)
               = (SELECT count(*)
                    FROM stats.measurement AS m
                   WHERE m.project_id = %(project_id)s
                     AND m.device_number = chosen.device_number
                     AND m.occurred_at >= quarter AND m.occurred_at < quarter + interval '15 minutes'
                     AND m.received_at >= quarter - interval '6 minutes'
                     AND m.received_at < quarter + interval '31 days') AS is_kept
          FROM chosen
         CROSS JOIN unnest(%(quarters)s::timestamptz[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
            AS each(quarter, starts, ends)),
    part AS (
        SELECT device_number, event_count, {_STORED}
          FROM chosen
          JOIN stats.measurement_quarter_hour AS q USING (device_number)
         WHERE q.project_id = %(project_id)s
           AND (%(first)s::timestamptz IS NULL OR q.bucket_start >= %(first)s)
           AND (%(last)s::timestamptz IS NULL OR q.bucket_start < %(last)s)
         UNION ALL
        SELECT device_number, event_count, {_STORED}
          FROM edge
          JOIN stats.measurement_quarter_hour AS q USING (device_number)
         WHERE NOT is_kept
           AND q.project_id = %(project_id)s
           AND q.bucket_start = quarter
         UNION ALL
        SELECT device_number, 1, {_for_each_axis("m.@::text::numeric, m.@, m.@")}
          FROM edge
          JOIN stats.measurement AS m USING (device_number)
         WHERE is_kept
           AND m.project_id = %(project_id)s
           AND m.occurred_at >= starts AND m.occurred_at < ends
           AND m.received_at >= quarter - interval '6 minutes' AND m.received_at < quarter + interval '31 days'),
    of_device AS MATERIALIZED (
        SELECT device_number, sum(event_count)::bigint AS event_count, {_TOGETHER}
          FROM part
         GROUP BY device_number),
    grouped AS MATERIALIZED (
        SELECT device_number, devices, event_count,
               (event_count + 1) / 2 AS lower_rank, event_count / 2 + 1 AS upper_rank, {_STORED}
          FROM (SELECT device_number, ARRAY[device_number] AS devices, event_count, {_STORED} FROM of_device
                 UNION ALL
                SELECT NULL, array_agg(device_number), sum(event_count)::bigint, {_TOGETHER}
                  FROM of_device
                HAVING count(*) > 1) AS summed)
"""  # noqa: S608 - of constants of this file
# A sample of the rows of a large group. Every so many rows there is a place, counted through all quarters of an hour in
# the order of time: a signal that changes slowly is then sampled evenly.
_SAMPLED: LiteralString = """
        SELECT place.number, m.x, m.y, m.z
          FROM (SELECT row_number() OVER () AS number, quarter.device_number,
                       quarter.bucket_start + random() * interval '15 minutes' AS at
                  FROM (SELECT q.device_number, q.bucket_start,
                               sum(q.event_count) OVER so_far * (all_places / grouped.event_count) + begin AS upto,
                               q.event_count * (all_places / grouped.event_count) AS share
                          FROM stats.measurement_quarter_hour AS q
                         CROSS JOIN (SELECT random() AS begin) AS drawn
                         WHERE q.project_id = %(project_id)s
                           AND q.device_number = ANY (grouped.devices)
                           AND (%(floor)s::timestamptz IS NULL OR q.bucket_start >= %(floor)s)
                           AND (%(end)s::timestamptz IS NULL OR q.bucket_start < %(end)s)
                        WINDOW so_far AS (ORDER BY q.device_number, q.bucket_start ROWS UNBOUNDED PRECEDING)
                       ) AS quarter
                 CROSS JOIN LATERAL generate_series(1, (floor(upto) - floor(upto - share))::int)
                 -- Most have none when there are many devices.
                 WHERE floor(upto) > floor(upto - share)
                 -- Else random() would be called for each row of an index, and no index would be used.
                OFFSET 0) AS place
         CROSS JOIN LATERAL (
               SELECT m.x, m.y, m.z
                 FROM stats.measurement AS m
                WHERE m.project_id = %(project_id)s
                  AND m.device_number = place.device_number
                  AND m.occurred_at >= place.at
                  AND m.received_at >= place.at - interval '6 minutes'
                  -- No week is opened that has not begun.
                  AND m.received_at < least(place.at + interval '31 days', now() + interval '1 hour')
                ORDER BY m.occurred_at
                LIMIT %(rows_at_a_place)s) AS m
"""
_SAMPLE_MEDIANS: LiteralString = _for_each_axis("percentile_disc(0.5) WITHIN GROUP (ORDER BY @) AS @")
# How many more rows of a place are below the median of the sample than above it, halved.
_SKEW: LiteralString = _for_each_axis("""
               (count(*) FILTER (WHERE sampled.@ < middle.@)
                - count(*) FILTER (WHERE sampled.@ > middle.@)) / 2.0::float8 AS @
""")
# How far the median of the sample may be from that of all rows, as a share of the rows: 3.5 standard errors. They are
# estimated from the differences between each place and the next, so they are small where the rows of a place differ
# as those of the whole do, and where a signal changes slowly. For one so slow that no two places differ, there is the
# share of a place.
_WIDTHS: LiteralString = _for_each_axis(
    "3.5 * sqrt(sum((@ - next_@) ^ 2) / 2) / sum(row_count) + 1 / nullif(count(*), 0)::float8 AS @_width"
)
_SAMPLE_QUANTILES: LiteralString = _for_each_axis("""
               (SELECT percentile_disc(ARRAY[greatest(0.5 - 3 * @_width, 0), greatest(0.5 - @_width, 0), 0.5,
                                             least(0.5 + @_width, 1), least(0.5 + 3 * @_width, 1)])
                       WITHIN GROUP (ORDER BY @) FROM sampled) AS @
""")
_SAMPLE: LiteralString = f"""
          WITH sampled AS MATERIALIZED ({_SAMPLED}),
               of_place AS (
               SELECT number, count(*) AS row_count, {_SKEW}
                 FROM sampled
                CROSS JOIN (SELECT {_SAMPLE_MEDIANS} FROM sampled) AS middle
                GROUP BY number),
               beside AS (
               SELECT row_count, {_for_each_axis("@, lead(@, 1, @) OVER (ORDER BY number) AS next_@")} FROM of_place),
               widths AS MATERIALIZED (SELECT {_WIDTHS} FROM beside)
        SELECT {_SAMPLE_QUANTILES} FROM widths
"""  # noqa: S608 - of constants of this file
# The median is expected between low and high. A value that reaches far across an end of this bracket is its tie: the
# rows with it may be any number, so they are counted and not collected. One that reaches across both is expected alone.
_ALONE = "(@[2] = @[4] OR @[1] = @[2] AND @[4] = @[5])"
_BRACKET: LiteralString = _for_each_axis(f"""
               CASE WHEN {_ALONE} THEN @[3] ELSE @[2] END AS @_low,
               CASE WHEN {_ALONE} THEN @[3] ELSE @[4] END AS @_high,
               CASE WHEN {_ALONE} THEN @[3] WHEN @[1] = @[2] THEN @[2] WHEN @[4] = @[5] THEN @[4] END AS @_tie
""")
# Of the groups of `groups`, a table with the columns of `grouped`.
_BRACKETS: LiteralString = f"""
        SELECT device_number, devices, lower_rank, upper_rank, {_BRACKET}
          FROM groups AS grouped
         -- With so many places, the sample takes about as long as it then takes to collect what is in the bracket.
         -- In floats: a power of numeric takes 20 µs, and is computed for each quarter of an hour.
         CROSS JOIN LATERAL (SELECT ceil(event_count ^ (2 / 3.0::float8) / 16) AS all_places) AS chosen_places
         CROSS JOIN LATERAL ({_SAMPLE}) AS quantile
"""  # noqa: S608 - of constants of this file
# The large groups, first that which has the rows of all others.
_LARGE: LiteralString = """
        SELECT * FROM grouped WHERE event_count > %(sorted_rows_max)s ORDER BY device_number NULLS FIRST
"""


def _scan(place: LiteralString, rows: LiteralString) -> LiteralString:
    """Return the scan of a large group: it counts the rows below the bracket, and collects those within.

    `place` is how a column of the bracket is read, with `*` for its name; `rows` is the condition for the group.
    """
    low, high, tie = (place.replace("*", name) for name in ("@_low", "@_high", "@_tie"))
    columns = _for_each_axis(f"""
               count(*) FILTER (WHERE m.@ < {low}) AS @_below,
               count(*) FILTER (WHERE m.@ = {tie}) AS @_tied,
               array_agg(m.@) FILTER (WHERE m.@ >= {low} AND m.@ <= {high} AND m.@ IS DISTINCT FROM {tie}) AS @_within
    """)
    return f"SELECT count(*) AS kept, {columns} {_FACTS} AND {rows}"


# The first group's bracket was found by a statement before. It is constant here, so it costs less for each row, and
# several processes may share the rows.
_SCAN_OF_FIRST = _scan(
    "%(*)s::float8",
    """(%(device_number)s::bigint IS NULL OR m.device_number = %(device_number)s)
           AND (%(device_number)s::bigint IS NOT NULL OR m.device_number = ANY ((SELECT devices FROM first)::bigint[]))
    """,
)
_SCAN_OF_DEVICE = _scan("bracket.*", "m.device_number = bracket.device_number")
# A bracket is proven if both middle ranks are among its rows.
_PROVEN: LiteralString = _for_each_axis(
    "coalesce(@_below < lower_rank AND upper_rank <= @_below + @_tied + coalesce(cardinality(@_within), 0), false)",
    " AND ",
)
# Ranks within the bracket. If the tie is its low end, the rows with it are before those that are collected.
_RANKS: LiteralString = _for_each_axis("""
               CASE WHEN @_tie = @_low THEN @_tied ELSE 0 END AS @_first,
               lower_rank - @_below AS @_lower, upper_rank - @_below AS @_upper
""")
# A half below a rank, so that no rounding of the quotient reaches the next rank.
_QUANTILES: LiteralString = _for_each_axis("""
               ARRAY[least(greatest((@_lower - @_first - 0.5)::float8 / cardinality(@_within), 0), 1),
                     least(greatest((@_upper - @_first - 0.5)::float8 / cardinality(@_within), 0), 1)] AS @_quantiles
""")
_COLLECTED: LiteralString = _for_each_axis("""
               (SELECT percentile_disc(@_quantiles) WITHIN GROUP (ORDER BY each)
                  FROM (SELECT unnest(@_within) AS each) AS within) AS @_collected
""")
_MIDDLE_WITHIN: LiteralString = _for_each_axis("""
               ARRAY[CASE WHEN @_lower > @_first AND @_lower <= @_first + cardinality(@_within)
                          THEN @_collected[1] ELSE @_tie END,
                     CASE WHEN @_upper > @_first AND @_upper <= @_first + cardinality(@_within)
                          THEN @_collected[2] ELSE @_tie END] AS @
""")
# The same for a group without a bracket.
_MIDDLE_OF_ALL: LiteralString = _for_each_axis("""
               percentile_disc(ARRAY[(grouped.lower_rank - 0.5)::float8 / grouped.event_count,
                                     (grouped.upper_rank - 0.5)::float8 / grouped.event_count])
                   WITHIN GROUP (ORDER BY m.@) AS @
""")
_MIDDLE: LiteralString = _for_each_axis("CASE WHEN is_proven THEN bracketed.@ ELSE sorted.@ END AS @")
_OF_GROUP: LiteralString = _for_each_axis("""
           grouped.@_sum, grouped.@_min, grouped.@_max, (middle.@[1]::text::numeric + middle.@[2]::text::numeric) * 0.5
""")
_BRACKET_COLUMNS: LiteralString = _for_each_axis("@_low, @_high, @_tie")
# All figures of small groups. The large ones have no median, and the first of them has its bracket.
LOOK: LiteralString = f"""
    {_FIGURES},
    groups AS MATERIALIZED ({_LARGE} LIMIT 1),
    bracket AS MATERIALIZED ({_BRACKETS})
    SELECT chosen.device_id, grouped.device_number, grouped.event_count,
           grouped.event_count <= %(sorted_rows_max)s AS is_complete, middle.kept, false AS is_bracketed,
           {_OF_GROUP}, {_BRACKET_COLUMNS}
      FROM grouped
      LEFT JOIN chosen USING (device_number)
      LEFT JOIN bracket ON bracket.device_number IS NOT DISTINCT FROM grouped.device_number
     CROSS JOIN LATERAL (
        SELECT count(*) AS kept, {_MIDDLE_OF_ALL}
        {_FACTS}
           AND m.device_number = ANY (grouped.devices)
           AND grouped.event_count <= %(sorted_rows_max)s) AS middle
     ORDER BY grouped.device_number NULLS FIRST
"""  # noqa: S608 - of constants of this file
# All figures of all groups, with the bracket of the first large one as parameters.
ANALYSIS: LiteralString = f"""
    {_FIGURES},
    first AS MATERIALIZED (
        SELECT device_number, devices, lower_rank, upper_rank,
               {_for_each_axis("%(@_low)s::float8 AS @_low, %(@_high)s::float8 AS @_high, %(@_tie)s::float8 AS @_tie")}
          FROM ({_LARGE} LIMIT 1) AS large),
    groups AS MATERIALIZED ({_LARGE} OFFSET 1),
    bracket AS MATERIALIZED ({_BRACKETS}),
    counted AS MATERIALIZED (
        SELECT first.*, scan.* FROM first CROSS JOIN ({_SCAN_OF_FIRST}) AS scan
         UNION ALL
        SELECT bracket.*, scan.* FROM bracket CROSS JOIN LATERAL ({_SCAN_OF_DEVICE}) AS scan),
    bracketed AS MATERIALIZED (
        SELECT device_number, kept, {_PROVEN} AS is_proven, {_MIDDLE_WITHIN}
          FROM counted
         CROSS JOIN LATERAL (SELECT {_RANKS}) AS ranks
         CROSS JOIN LATERAL (SELECT {_QUANTILES} OFFSET 0) AS quantiles
         CROSS JOIN LATERAL (SELECT {_COLLECTED} OFFSET 0) AS collected)
    SELECT chosen.device_id, grouped.device_number, grouped.event_count, true AS is_complete,
           coalesce(bracketed.kept, sorted.kept) AS kept, coalesce(is_proven, false) AS is_bracketed, {_OF_GROUP}
      FROM grouped
      LEFT JOIN chosen USING (device_number)
      LEFT JOIN bracketed ON bracketed.device_number IS NOT DISTINCT FROM grouped.device_number
     CROSS JOIN LATERAL (
        SELECT count(*) AS kept, {_MIDDLE_OF_ALL}
        {_FACTS}
           AND m.device_number = ANY (grouped.devices)
           AND (grouped.event_count <= %(sorted_rows_max)s
                OR bracketed.kept = grouped.event_count AND NOT is_proven)) AS sorted
     CROSS JOIN LATERAL (SELECT {_MIDDLE}) AS middle
     ORDER BY grouped.device_number NULLS FIRST
"""  # noqa: S608 - of constants of this file
# As the parameters of ANALYSIS are named, in the order of _BRACKET_COLUMNS.
_BRACKET_NAMES = tuple(f"{axis}_{name}" for axis in AXES for name in ("low", "high", "tie"))
_NO_BRACKET = (None,) * len(_BRACKET_NAMES)
# The end of the last quarter of an hour of which facts have left, for each device.
KEPT_SINCE = """
    SELECT q.device_number, max(q.bucket_start) + interval '15 minutes'
      FROM (SELECT device_number, bucket_start, sum(event_count) AS events
              FROM stats.measurement_quarter_hour
             WHERE project_id = %(project_id)s
               AND device_number = ANY (%(device_numbers)s)
               AND (%(floor)s::timestamptz IS NULL OR bucket_start >= %(floor)s)
               AND (%(end)s::timestamptz IS NULL OR bucket_start < %(end)s)
             GROUP BY device_number, bucket_start) AS q
      LEFT JOIN (SELECT device_number, date_bin('15 minutes', occurred_at, 'epoch') AS bucket_start, count(*) AS events
                   FROM stats.measurement
                  WHERE project_id = %(project_id)s
                    AND device_number = ANY (%(device_numbers)s)
                    AND (%(floor)s::timestamptz IS NULL
                         OR occurred_at >= %(floor)s AND received_at >= %(received_start)s)
                  GROUP BY 1, 2) AS kept
     USING (device_number, bucket_start)
     WHERE q.events > coalesce(kept.events, 0)
     GROUP BY q.device_number
"""
SERIES: LiteralString = f"""
    SELECT width_bucket(bucket_start, %(edges)s::timestamptz[]) - 1, sum(event_count)::bigint, {_TOGETHER}
      FROM stats.measurement_quarter_hour
     WHERE project_id = %(project_id)s
       AND device_number = %(device_number)s
       AND bucket_start >= %(start)s
       AND bucket_start < %(end)s
     GROUP BY 1
"""  # noqa: S608 - of constants of this file
SET_TIMEOUT = "SET statement_timeout = %(milliseconds)s"
RESET_TIMEOUT = "RESET statement_timeout"


class Axis(NamedTuple):
    """Figures of one axis; the median is None where it was not computed."""

    sum: Decimal
    min: float
    max: float
    median: Decimal | None = None


class Group(NamedTuple):
    """The measurements of one device, or of all together, which has neither a number nor an id."""

    device_id: str | None
    device_number: int | None
    event_count: int
    # Whether the median was asked for, and how many rows it was made of: fewer where facts have left.
    is_complete: bool
    kept: int
    # Whether the median was found in a bracket, without a sort of all rows.
    is_bracketed: bool
    axes: tuple[Axis, ...]


class Look(NamedTuple):
    """The groups of an analysis, large ones without medians.

    `bracket` is where the medians of the first large group are expected: low, high and tie of each axis.
    """

    groups: list[Group]
    bracket: tuple[float | None, ...]


class Chosen(NamedTuple):
    """The devices of an analysis: one of them, or all of a person."""

    project_id: int
    device_number: int | None
    person_id: str | None = None


def rows(
    lease: Lease,
    chosen: Chosen,
    period: Period,
    before: tuple[datetime, str] | None,
    *,
    limit: int,
    skip: int,
) -> list[StoredRow]:
    """Return measurements of a device, the newest first; those after `before`, a time and an id, if it is given."""
    parameters = {
        **chosen._asdict(),
        **period.parameters(),
        "before": None if before is None else before[0],
        "before_id": None if before is None else before[1],
        "limit": limit,
        "skip": skip,
    }
    with lease.transaction() as conn:
        return fetch_all(conn, _ROWS, parameters, StoredRow.of)


def look(
    lease: Lease, chosen: Chosen, period: Period, seconds_max: float, sorted_rows_max: int = SORTED_ROWS_MAX
) -> Look:
    """Return the group of each device that has measurements in the period; first that of several together.

    A group of more than `sorted_rows_max` measurements has no median. The statement ends after `seconds_max`.
    """
    parameters = _analysis_parameters(chosen, period, sorted_rows_max)
    with lease.transaction() as conn, _statements_within(conn, seconds_max):
        found = fetch_all(conn, LOOK, parameters, lambda *values: values)
    brackets = (values[-len(_BRACKET_NAMES) :] for values in found)
    bracket = next((each for each in brackets if each != _NO_BRACKET), _NO_BRACKET)
    return Look([_group(*values[: -len(_BRACKET_NAMES)]) for values in found], bracket)


def analysis(
    lease: Lease,
    chosen: Chosen,
    period: Period,
    bracket: tuple[float | None, ...],
    seconds_max: float,
    sorted_rows_max: int = SORTED_ROWS_MAX,
) -> list[Group]:
    """Return the same groups, all with medians, which are exact whatever rows the bracket was made of."""
    parameters = _analysis_parameters(chosen, period, sorted_rows_max)
    parameters.update(zip(_BRACKET_NAMES, bracket, strict=True))
    with lease.transaction() as conn, _statements_within(conn, seconds_max):
        return fetch_all(conn, ANALYSIS, parameters, _group)


def _analysis_parameters(chosen: Chosen, period: Period, sorted_rows_max: int) -> dict[str, object]:
    return {
        **chosen._asdict(),
        **period.parameters(),
        "sorted_rows_max": sorted_rows_max,
        "rows_at_a_place": _ROWS_AT_A_PLACE,
    }


def kept_since(
    lease: Lease, chosen: Chosen, period: Period, device_numbers: Sequence[int], seconds_max: float
) -> dict[int, datetime]:
    """Return since when all measurements of a device are kept, for those of which some have left."""
    parameters = {**chosen._asdict(), **period.parameters(), "device_numbers": list(device_numbers)}
    with lease.transaction() as conn, _statements_within(conn, seconds_max):
        return dict(fetch_all(conn, KEPT_SINCE, parameters, lambda number, since: (number, since)))


def series(lease: Lease, chosen: Chosen, edges: Sequence[datetime]) -> dict[int, tuple[int, tuple[Axis, ...]]]:
    """Return count and figures between each edge and the next, by the number of the edge; a gap has none."""
    parameters = {**chosen._asdict(), "edges": list(edges), "start": edges[0], "end": edges[-1]}
    with lease.transaction() as conn:
        return dict(fetch_all(conn, SERIES, parameters, _bucket))


@contextmanager
def _statements_within(conn: Connection, seconds_max: float) -> Iterator[None]:
    """A limit of their own for the statements of the block; each of a reader's is a transaction."""
    execute(conn, SET_TIMEOUT, {"milliseconds": round(1000 * seconds_max)})
    try:
        yield
    finally:
        if not conn.closed:
            execute(conn, RESET_TIMEOUT, {})


def _bucket(number: int, count: int, *values: Decimal | float) -> tuple[int, tuple[int, tuple[Axis, ...]]]:
    return number, (count, tuple(Axis(*values[place : place + 3]) for place in range(0, len(values), 3)))  # type: ignore[arg-type] # sum, min, max


def _group(
    device_id: str | None,
    device_number: int | None,
    count: int,
    is_complete: bool,
    kept: int,
    is_bracketed: bool,
    *values: Decimal | float,
) -> Group:
    axes = tuple(Axis(*values[place : place + 4]) for place in range(0, len(values), 4))  # type: ignore[arg-type] # as they are selected
    return Group(device_id, device_number, count, is_complete, kept, is_bracketed, axes)
