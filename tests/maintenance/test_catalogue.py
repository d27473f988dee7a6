"""Maintenance and the check of the counts are the same for every fact table, and for those of the catalogue alone."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import errors

from local.database import base_environment
from tests.maintenance.rounds import (
    as_administrator,
    as_writer,
    create_partition,
    record,
    run_round,
    verify,
)
from tests.maintenance.second_fact_table import add_reading, record_reading

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

NOW = datetime.now(UTC)
YESTERDAY = NOW - timedelta(days=1)
HALL = "reading, project 1, hall, 7"
OLD_WEEK = date(2024, 1, 8)
OLD = datetime(2024, 1, 10, tzinfo=UTC)

# Each table that a row of the catalogue promises, with the columns that maintenance uses.
PROMISED = """
    WITH part(fact, name, columns) AS (
        SELECT fact, fact,
               group_columns || sum_columns || extreme_columns || '{received_at,occurred_at,commit_xid}'::text[]
          FROM maintenance.fact_table
        UNION ALL
        SELECT fact, fact || '_default', '{received_at}' FROM maintenance.fact_table
        UNION ALL
        SELECT fact, fact || '_' || part,
               ARRAY(SELECT jsonb_array_elements_text(rollup_group_columns->part))
               || CASE WHEN rollup_group_columns ? part THEN '{}' ELSE group_columns END
               || 'event_count'::text || ARRAY(SELECT each || '_sum' FROM unnest(sum_columns) AS each)
               || ARRAY(SELECT each || what FROM unnest(extreme_columns) AS each, unnest('{_min,_max}'::text[]) AS what)
               || CASE WHEN part IN ('total', 'retired') THEN '{}' ELSE '{bucket_start}'::text[] END
          FROM maintenance.fact_table CROSS JOIN unnest(rollups || 'retired'::text) AS part
        UNION ALL
        SELECT fact, fact, ARRAY[presence_column] FROM maintenance.fact_table WHERE presence_column IS NOT NULL
        UNION ALL
        SELECT fact, fact || part, columns
          FROM maintenance.fact_table CROSS JOIN (VALUES
               ('_presence', '{project_id,segment,digest,day,previous_day}'::text[]),
               ('_distinct', '{project_id,segment,day,previous_day,present_count}')) AS of_presence(part, columns)
         WHERE presence_column IS NOT NULL
        UNION ALL
        SELECT fact, fact, ARRAY[person_column] FROM maintenance.fact_table WHERE person_column IS NOT NULL
        UNION ALL
        SELECT fact, person_table, ARRAY['project_id', 'person_id', person_column]
          FROM maintenance.fact_table WHERE person_table IS NOT NULL
        UNION ALL
        SELECT fact, fact || '_distinct_retired', '{project_id,segment,day,previous_day,present_count}'
          FROM maintenance.fact_table WHERE person_column = presence_column)
    SELECT name, wanted
      FROM part CROSS JOIN unnest(columns) AS wanted
     WHERE NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = to_regclass(format('public.%%I', name))
                          AND attname = wanted AND NOT attisdropped)
"""
# Each partitioned table that the catalogue does not name, and each table named like a part that is not declared.
UNKNOWN = """
    SELECT relname::text FROM pg_class
     WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace
       AND relname NOT IN (SELECT fact FROM maintenance.fact_table)
    UNION
    SELECT relname::text FROM pg_class JOIN maintenance.fact_table ON starts_with(relname, fact || '_')
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND NOT relispartition
       AND relname <> ALL (ARRAY(SELECT fact || '_' || part FROM unnest(rollups || 'retired'::text) AS part))
       AND (presence_column IS NULL OR relname <> ALL (ARRAY[fact || '_presence', fact || '_distinct']))
       AND (person_column IS DISTINCT FROM presence_column OR relname <> fact || '_distinct_retired')
"""


@pytest.fixture
def two(database: MigratedDatabase) -> MigratedDatabase:
    """A database with two fact tables."""
    add_reading(database)
    return database


def partitions(database: MigratedDatabase, fact: str) -> set[str]:
    children = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass(%(fact)s)"
    return {str(name) for (name,) in as_administrator(database, children, fact=fact)}


def test_the_tables_are_what_the_catalogue_promises(two: MigratedDatabase) -> None:
    assert as_administrator(two, PROMISED) == []
    assert as_administrator(two, UNKNOWN) == []
    as_administrator(two, "ALTER TABLE reading_retired DROP COLUMN celsius_sum")
    as_administrator(two, "CREATE TABLE reading_day (); CREATE TABLE other (at date) PARTITION BY RANGE (at)")
    assert as_administrator(two, PROMISED) == [("reading_retired", "celsius_sum")]
    assert sorted(as_administrator(two, UNKNOWN)) == [("other",), ("reading_day",)]


@pytest.mark.parametrize(
    "row",
    [
        "('x; DROP TABLE auth_event', '{project_id}', '{}', '{total}')",
        "('reading', '{sensor}', '{}', '{total}')",
        "('reading', '{}', '{}', '{total}')",
        "('reading', '{project_id}', '{}', '{week}')",
        "('reading', '{project_id}', '{}', '{total,room_week}')",
        "('reading', '{project_id}', '{}', '{\"day; DROP\"}')",
    ],
)
def test_a_row_that_breaks_the_naming_rule_is_refused(session_database: MigratedDatabase, row: str) -> None:
    with pytest.raises(errors.CheckViolation):
        as_administrator(session_database, f"INSERT INTO maintenance.fact_table VALUES {row}")  # noqa: S608 - one of ours


@pytest.mark.parametrize("function", ["create_partition", "retire_partition"])
@pytest.mark.parametrize(
    "fact", ["idempotency", "AUTH_EVENT", "public.auth_event", 'auth_event"; DROP TABLE project; --', "", None]
)
def test_the_login_can_name_no_table_but_those_of_the_catalogue(
    session_database: MigratedDatabase, function: str, fact: str | None
) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="not a fact table"):
        as_writer(session_database, f"SELECT maintenance.{function}(%(fact)s, %(week)s)", fact=fact, week=OLD_WEEK)


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET fact = 'project'", "INSERT INTO {} TABLE {}"])
def test_the_login_cannot_write_the_catalogue(database: MigratedDatabase, statement: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        as_writer(database, statement.replace("{}", "maintenance.fact_table"))


def test_every_table_is_maintained_and_every_line_names_its_table(two: MigratedDatabase) -> None:
    for fact in ("auth_event", "reading"):
        create_partition(two, OLD_WEEK, fact)
    record(two, OLD, NOW)
    record_reading(two, OLD, OLD, NOW)
    record_reading(two, OLD, celsius=None, room="attic")

    ok, lines = run_round(two)

    assert ok
    assert [line.split(":")[0] for line in lines] == [
        "partitions of api_request",
        "partitions of auth_event",
        "partitions of measurement",
        *["partitions of reading"] * 2,
        "partitions of store_event",
        "presences of auth_event",
        "retention of api_request",
        "retention of auth_event",
        "retention of measurement",
        "retention of reading",
        "retention of store_event",
        "minutes of api_request",
        "minutes of auth_event",
        "minutes of reading",
        "idempotency",
        "webhooks",
        "deleted devices",
        "deleted projects",
    ]
    assert "ALARM: the default partition was hit; its 1 rows" in lines[4]
    assert "retention of reading: week 2024-01-08 dropped, its 3 facts stay counted" in lines
    assert "minutes of reading: 2 buckets older than 35 days deleted" in lines
    current = {name.removeprefix("auth_event") for name in partitions(two, "auth_event")}
    assert {name.removeprefix("reading") for name in partitions(two, "reading")} == current
    retired = as_writer(two, 'SELECT "Room", event_count::int, celsius_sum FROM reading_retired ORDER BY 1')
    assert retired == [("attic", 1, Decimal(0)), ("hall", 2, Decimal("0.2"))]
    assert not verify(two).drifts


def test_a_second_retirement_adds_to_the_first(two: MigratedDatabase) -> None:
    for week in (OLD_WEEK, OLD_WEEK + timedelta(days=7)):
        create_partition(two, week, "reading")
    record_reading(two, OLD, OLD + timedelta(days=7), OLD + timedelta(days=7))
    assert run_round(two)[0]
    assert as_writer(two, "SELECT event_count::int, celsius_sum FROM reading_retired") == [(3, Decimal("0.3"))]
    assert not verify(two).drifts


def test_a_locked_table_of_keys_is_an_alarm(database: MigratedDatabase) -> None:
    with closing(psycopg2.connect(database.admin_url)) as holder, holder.cursor() as cur:
        cur.execute("LOCK TABLE idempotency IN ACCESS EXCLUSIVE MODE")
        ok, lines = run_round(database)
    assert not ok
    assert "idempotency: ALARM: a long transaction is in the way" in lines[-4]


@pytest.mark.parametrize(
    ("tampering", "drifts"),
    [
        (
            "UPDATE reading_quarter_hour SET event_count = event_count + 1",
            [
                f"{HALL}: quarter hours 3, facts + retired 2 (+1)",
                f"{HALL}, {YESTERDAY.date()}: minutes 2, quarter hours 3 (-1)",
            ],
        ),
        (
            "UPDATE reading_quarter_hour SET celsius_sum = celsius_sum + 0.001",
            [
                f"{HALL}, celsius_sum: quarter hours 0.201, facts + retired 0.2 (+0.001)",
                f"{HALL}, {YESTERDAY.date()}, celsius_sum: minutes 0.2, quarter hours 0.201 (-0.001)",
            ],
        ),
        (
            "INSERT INTO reading_retired VALUES (1, 'attic', 9, 5, 1.5)",
            [
                "reading, project 1, attic, 9: quarter hours 0, facts + retired 5 (-5)",
                "reading, project 1, attic, 9, celsius_sum: quarter hours 0, facts + retired 1.5 (-1.5)",
            ],
        ),
        (
            "UPDATE auth_event_total SET event_count = 3",
            ["auth_event, project 1, iOS: total 3, facts + retired 2 (+1)"],
        ),
    ],
)
def test_a_drift_names_its_table_and_its_measure(two: MigratedDatabase, tampering: str, drifts: list[str]) -> None:
    record(two, YESTERDAY, YESTERDAY)
    record_reading(two, YESTERDAY, YESTERDAY)
    assert not verify(two).drifts
    as_administrator(two, tampering)
    assert verify(two).drifts == drifts


def test_the_report_has_a_table_for_each_fact_table_and_measure(two: MigratedDatabase) -> None:
    record(two, YESTERDAY)
    record_reading(two, YESTERDAY, YESTERDAY)
    finished = subprocess.run(
        [sys.executable, "-m", "device_registration_api", "verify-counts"],
        env={**base_environment(), **two.writer_env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines() == [
        "auth_event",
        "project  device type  facts  retired  total  quarter hours",
        "      1  iOS              1        0      1              1",
        "reading",
        "project  facts  retired  quarter hours",
        "      1      2        0              2",
        "reading, celsius_sum",
        "project  facts  retired  quarter hours",
        "      1    0.2        0            0.2",
        (
            "no drift in api_request, auth_event, measurement, reading, store_event: "
            "facts + retired = each rollup, "
            "and minutes = quarter hours of the last 34 days"
        ),
    ]
