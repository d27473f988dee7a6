"""Compares every count with the facts it was made of, in one snapshot, and names each drift."""

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

STATEMENT_SECONDS_MAX = 3600

# Before the snapshot: a week dropped after it would be missing in the facts and not yet in auth_event_retired.
KEEP_WEEKS = "LOCK TABLE auth_event IN ACCESS SHARE MODE"

COUNTS = """
    SELECT project_id, device_type::text, sum(facts)::bigint AS facts, sum(retired)::bigint AS retired,
           sum(total)::bigint AS total, sum(quarter_hours)::bigint AS quarter_hours
      FROM (SELECT project_id, device_type, count(*) AS facts, 0 AS retired, 0 AS total, 0 AS quarter_hours
              FROM auth_event GROUP BY project_id, device_type
            UNION ALL
            SELECT project_id, device_type, 0, event_count, 0, 0 FROM auth_event_retired
            UNION ALL
            SELECT project_id, device_type, 0, 0, event_count, 0 FROM auth_event_total
            UNION ALL
            SELECT project_id, device_type, 0, 0, 0, event_count FROM auth_event_quarter_hour) AS counted
     GROUP BY project_id, device_type
     ORDER BY project_id, device_type
"""

# Whole days (UTC), inside the 35 that minutes are kept.
DAYS_THAT_DIFFER = """
    SELECT project_id, device_type::text, (bucket_start AT TIME ZONE 'UTC')::date AS day,
           sum(minutes)::bigint AS minutes, sum(quarter_hours)::bigint AS quarter_hours
      FROM (SELECT project_id, device_type, bucket_start, event_count AS minutes, 0 AS quarter_hours
              FROM auth_event_minute
            UNION ALL
            SELECT project_id, device_type, bucket_start, 0, event_count
              FROM auth_event_quarter_hour) AS counted
     WHERE bucket_start >= date_trunc('day', now(), 'UTC') - interval '34 days'
       AND bucket_start < date_trunc('day', now(), 'UTC')
     GROUP BY project_id, device_type, day
    HAVING sum(minutes) <> sum(quarter_hours)
     ORDER BY project_id, device_type, day
"""


class Counts(NamedTuple):
    """All counts of one device type of one project since the beginning."""

    project_id: int
    device_type: str
    facts: int
    retired: int
    total: int
    quarter_hours: int


class Day(NamedTuple):
    """One day (UTC) whose minutes and quarter hours do not agree."""

    project_id: int
    device_type: str
    day: date
    minutes: int
    quarter_hours: int


class Verdict(NamedTuple):
    """What was compared, and one sentence for each drift; no drift means that every count is exact."""

    counts: list[Counts]
    drifts: list[str]


def verify_counts(conn: Connection) -> Verdict:
    """Compare in one read-only snapshot: facts + retired = total = quarter hours; minutes = quarter hours.

    Reads every fact, so it takes a while on a large database; nobody waits for it but a week that is to be made or
    dropped. Raises psycopg2.Error when the server cannot be reached or lacks the schema.
    """
    conn.set_session(isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True)
    with conn:
        execute(conn, KEEP_WEEKS, {})
        counts = fetch_all(conn, COUNTS, {}, Counts)
        days = fetch_all(conn, DAYS_THAT_DIFFER, {}, Day)
    return Verdict(counts, [*_count_drifts(counts), *map(_day_drift, days)])


def table(counts: Sequence[Counts]) -> str:
    """The counts as an aligned table for a terminal."""
    head = ("project", "device type", "facts", "retired", "total", "quarter hours")
    rows = [head, *(tuple(map(str, each)) for each in counts)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Numbers to the right, the one name to the left.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if head[at] == "device type" else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def _count_drifts(counts: Sequence[Counts]) -> list[str]:
    drifts = []
    for each in counts:
        expected = each.facts + each.retired
        for name, found in (("total", each.total), ("quarter hours", each.quarter_hours)):
            if found != expected:
                drifts.append(
                    f"project {each.project_id}, {each.device_type}: {name} {found}, facts + retired {expected} "
                    f"({found - expected:+d})"
                )
    return drifts


def _day_drift(each: Day) -> str:
    return (
        f"project {each.project_id}, {each.device_type}, {each.day}: minutes {each.minutes}, "
        f"quarter hours {each.quarter_hours} ({each.minutes - each.quarter_hours:+d})"
    )
