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
from statistics_api.measurements.periods import Period

# More rows than these are not sorted: see docs/decisions/0032-median-by-bracket.md.
SORTED_ROWS_MAX = 50_000
# Where a sample is taken, and how many rows at each place.
_PLACES = 1_024
_ROWS_AT_A_PLACE = 4
# The quantiles of the sample between which the median is expected: its own error is about 0.016.
_BRACKET = [0.44, 0.56]

_ROWS: LiteralString = """
    SELECT m.event_id::text, d.device_id, m.x, m.y, m.z, to_json(m.occurred_at) #>> '{}', m.occurred_at
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


def _for_each_axis(template: LiteralString) -> LiteralString:
    """Return the template once for each axis; `@` stands for its name."""
    repeated: LiteralString = ", ".join([template.replace("@", axis) for axis in AXES])
    return repeated


_STORED: LiteralString = _for_each_axis("@_sum, @_min, @_max")
_TOGETHER: LiteralString = _for_each_axis("sum(@_sum) AS @_sum, min(@_min) AS @_min, max(@_max) AS @_max")
# The facts of a group of devices in the period.
_FACTS: LiteralString = """
      FROM stats.measurement AS m
     WHERE m.project_id = %(project_id)s
       AND m.device_number = ANY (grouped.devices)
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
        SELECT device_number, ARRAY[device_number] AS devices, event_count, {_STORED} FROM of_device
         UNION ALL
        SELECT NULL, array_agg(device_number), sum(event_count)::bigint, {_TOGETHER}
          FROM of_device
        HAVING count(*) > 1)
"""  # noqa: S608 - of constants of this file
# A sample of the rows of a large group: each quarter of an hour has its share of the places.
_SAMPLE: LiteralString = f"""
        SELECT {_for_each_axis("percentile_disc(%(bracket)s::float8[]) WITHIN GROUP (ORDER BY @) AS @")}
          FROM (SELECT quarter.device_number, quarter.bucket_start + random() * interval '15 minutes' AS at
                  FROM (SELECT q.device_number, q.bucket_start,
                               floor(%(places)s::float8 * q.event_count / grouped.event_count + random())::int AS places
                          FROM stats.measurement_quarter_hour AS q
                         WHERE grouped.event_count > %(sorted_rows_max)s
                           AND grouped.event_count <= %(rows_max)s
                           AND q.project_id = %(project_id)s
                           AND q.device_number = ANY (grouped.devices)
                           AND (%(floor)s::timestamptz IS NULL OR q.bucket_start >= %(floor)s)
                           AND (%(end)s::timestamptz IS NULL OR q.bucket_start < %(end)s)
                         -- Else one number could be drawn for all quarters of an hour with one count.
                        OFFSET 0) AS quarter
                 CROSS JOIN LATERAL generate_series(1, quarter.places)
                 -- Else random() would be called for each row of an index, and no index would be used.
                OFFSET 0) AS place
         CROSS JOIN LATERAL (
               SELECT m.x, m.y, m.z
                 FROM stats.measurement AS m
                WHERE m.project_id = %(project_id)s
                  AND m.device_number = place.device_number
                  AND m.occurred_at >= place.at
                  AND m.received_at >= place.at - interval '6 minutes'
                  AND m.received_at < place.at + interval '31 days'
                ORDER BY m.occurred_at
                LIMIT %(rows_at_a_place)s) AS sampled
"""  # noqa: S608 - of constants of this file
# The counts prove whether the two middle ranks are within the bracket.
_COUNTED: LiteralString = f"""
        SELECT count(*) AS kept,
               {_for_each_axis("count(*) FILTER (WHERE m.@ < bracket.@_low) AS @_below")},
               {_for_each_axis("count(*) FILTER (WHERE m.@ BETWEEN bracket.@_low AND bracket.@_high) AS @_within")}
        {_FACTS}
           AND grouped.event_count > %(sorted_rows_max)s
           AND grouped.event_count <= %(rows_max)s
"""
_IS_PROVEN: LiteralString = """
    counted.@_below < lower_rank AND upper_rank <= counted.@_below + counted.@_within
"""
# Of a bracket that is not proven, and for few rows: all rows.
_RANKED: LiteralString = _for_each_axis(f"""
               CASE WHEN {_IS_PROVEN} THEN bracket.@_low ELSE '-Infinity' END AS @_from,
               CASE WHEN {_IS_PROVEN} THEN bracket.@_high ELSE 'Infinity' END AS @_to,
               CASE WHEN {_IS_PROVEN} THEN counted.@_below ELSE 0 END AS @_below,
               CASE WHEN {_IS_PROVEN} THEN counted.@_within ELSE grouped.event_count END AS @_within
""")
# A half below a rank, so that no rounding of the quotient reaches the next rank.
_MIDDLE: LiteralString = _for_each_axis("""
               percentile_disc(ARRAY[(lower_rank - ranked.@_below - 0.5)::float8 / ranked.@_within,
                                     (upper_rank - ranked.@_below - 0.5)::float8 / ranked.@_within])
                   WITHIN GROUP (ORDER BY m.@) FILTER (WHERE m.@ BETWEEN ranked.@_from AND ranked.@_to) AS @
""")
ANALYSIS: LiteralString = f"""
    {_FIGURES}
    SELECT chosen.device_id, grouped.device_number, grouped.event_count,
           grouped.event_count <= %(rows_max)s AS is_complete, middle.kept,
           {
    _for_each_axis(
        "grouped.@_sum, grouped.@_min, grouped.@_max, (middle.@[1]::text::numeric + middle.@[2]::text::numeric) * 0.5"
    )
}
      FROM grouped
      LEFT JOIN chosen USING (device_number)
     CROSS JOIN LATERAL (
        SELECT (grouped.event_count + 1) / 2 AS lower_rank, grouped.event_count / 2 + 1 AS upper_rank) AS rank
     CROSS JOIN LATERAL (
        SELECT {_for_each_axis("@[1] AS @_low, @[2] AS @_high")} FROM ({_SAMPLE}) AS quantile OFFSET 0) AS bracket
     CROSS JOIN LATERAL ({_COUNTED}) AS counted
     CROSS JOIN LATERAL (SELECT {_RANKED}) AS ranked
     CROSS JOIN LATERAL (
        SELECT count(*) AS kept, {_MIDDLE}
        {_FACTS}
           AND grouped.event_count <= %(rows_max)s
           AND (grouped.event_count <= %(sorted_rows_max)s OR counted.kept = grouped.event_count)) AS middle
     ORDER BY grouped.device_number NULLS FIRST
"""  # noqa: S608 - of constants of this file
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


class Row(NamedTuple):
    """One measurement, as `contract.measurements.events.StoredMeasurement` names its fields; and when it happened."""

    values: tuple[object, ...]
    occurred_at: datetime

    @property
    def event_id(self) -> str:
        """The id of the measurement."""
        return str(self.values[0])


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
    axes: tuple[Axis, ...]


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
) -> list[Row]:
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
        return fetch_all(conn, _ROWS, parameters, lambda *values: Row(values[:-1], values[-1]))


def analysis(
    lease: Lease,
    chosen: Chosen,
    period: Period,
    *,
    rows_max: int,
    seconds_max: float,
    sorted_rows_max: int = SORTED_ROWS_MAX,
) -> list[Group]:
    """Return the group of each device that has measurements in the period; first that of several together.

    A group of more than `rows_max` measurements has no median. The statement ends after `seconds_max`.
    """
    parameters = {
        **chosen._asdict(),
        **period.parameters(),
        "rows_max": rows_max,
        "sorted_rows_max": sorted_rows_max,
        "places": _PLACES,
        "rows_at_a_place": _ROWS_AT_A_PLACE,
        "bracket": _BRACKET,
    }
    with lease.transaction() as conn, _statements_within(conn, seconds_max):
        return fetch_all(conn, ANALYSIS, parameters, _group)


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
    *values: Decimal | float,
) -> Group:
    axes = tuple(Axis(*values[place : place + 4]) for place in range(0, len(values), 4))  # type: ignore[arg-type] # as they are selected
    return Group(device_id, device_number, count, is_complete, kept, axes)
