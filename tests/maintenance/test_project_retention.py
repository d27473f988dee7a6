"""A project's own retention: its old rows leave in batches, its figures stay, and other projects keep theirs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count

import psycopg2
import pytest
from psycopg2 import errors

from device_registration_api.maintenance import project_retention, verify_counts
from device_registration_api.maintenance.catalogue import read_fact_tables
from device_registration_api.maintenance.project_retention import retain_projects
from tests.events.test_presences import Writer, distinct, rows_of
from tests.maintenance.rounds import RECORD, as_administrator, as_writer, follow, run_round, verify
from tests.servers import MigratedDatabase

NOW = datetime.now(UTC)
FIRST, SECOND = 1, 2
KEPT = "SELECT project_id, count(*)::int FROM auth_event GROUP BY 1 ORDER BY 1"
TOTALS = "SELECT project_id, sum(event_count)::int FROM stats.auth_event_total GROUP BY 1 ORDER BY 1"
NOTED = """
    SELECT retention_days, deleted_rows::int, kept_rows::int, oldest_received_at > now() - interval '1 hour'
      FROM stats.project_retention WHERE project_id = %(project_id)s AND fact = 'auth_event'
"""


def record(database: MigratedDatabase, project_id: int, *days_ago: float) -> None:
    statement = RECORD.replace("VALUES (1,", "VALUES (%(project_id)s,")
    for days in days_ago:
        at = NOW - timedelta(days=days)
        as_writer(database, statement, project_id=project_id, received_at=at, occurred_at=at, device_type="iOS")


@pytest.fixture
def two(database: MigratedDatabase) -> MigratedDatabase:
    """Two projects with the same rows; the first one keeps ten days."""
    as_administrator(
        database,
        """
        INSERT INTO project (project_id, name, project_key) VALUES (2, 'second', 'second');
        UPDATE project SET retention_days = 10 WHERE project_id = 1;
        """,
    )
    for project_id in (FIRST, SECOND):
        record(database, project_id, 0, 9, 11, 12, 20, 21, 40)
    return database


def test_the_rows_of_one_project_leave_and_every_figure_stays(
    two: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_retention, "BATCH_ROWS", 2)
    before = as_writer(two, TOTALS)

    ok, lines = run_round(two)

    assert ok
    assert "retention of auth_event: project 1: 5 facts older than 10 days deleted, they stay counted" in lines
    assert as_writer(two, KEPT) == [(FIRST, 2), (SECOND, 7)]
    assert as_writer(two, TOTALS) == before
    assert verify(two).drifts == []
    assert as_writer(two, NOTED, project_id=FIRST) == [(10, 5, 2, False)]
    assert as_writer(two, NOTED, project_id=SECOND) == [(400, 0, 7, False)]


def test_runs_add_up_and_what_is_left_is_what_is_there(two: MigratedDatabase) -> None:
    run_round(two)
    record(two, FIRST, 0, 30)
    as_administrator(two, "UPDATE project SET retention_days = 5 WHERE project_id = 1")
    run_round(two, retention_days=0)
    assert as_writer(two, NOTED, project_id=FIRST) == [(5, 7, 2, True)]
    assert as_writer(two, NOTED, project_id=SECOND) == [(None, 0, 7, False)]
    assert verify(two).drifts == []


def test_a_run_that_is_stopped_leaves_exact_counts(two: MigratedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project_retention, "BATCH_ROWS", 2)
    calls = count()
    follow(two)
    with closing(psycopg2.connect(two.admin_url)) as conn:
        [table] = [each for each in read_fact_tables(conn) if each.fact == "auth_event"]
        list(retain_projects(conn, table, NOW, 400, lambda: next(calls) > 1))
    assert as_writer(two, KEPT) == [(FIRST, 5), (SECOND, 7)]
    assert verify(two).drifts == []


def test_the_login_retires_only_what_a_project_does_not_keep(two: MigratedDatabase) -> None:
    retire = "SELECT maintenance.retire_rows(%(fact)s, %(project_id)s, 1000)"
    assert as_writer(two, retire, fact="auth_event", project_id=SECOND) == [(None,)]
    assert as_writer(two, retire, fact="auth_event", project_id=99) == [(None,)]
    with pytest.raises(errors.InvalidParameterValue, match="not a fact table"):
        as_writer(two, retire, fact="project", project_id=FIRST)
    as_administrator(two, "UPDATE project SET retention_days = 1 WHERE project_id = 1")
    record(two, FIRST, 2.9)
    follow(two)
    assert as_writer(two, retire, fact="auth_event", project_id=FIRST) == [(6,)]  # three days are kept


def test_distinct_consumers_stay_when_their_rows_leave(database: MigratedDatabase) -> None:
    writer = Writer(database, 0)
    at = NOW - timedelta(days=8)
    rows = rows_of(FIRST, [("a", at), ("b", at), ("a", at - timedelta(days=1))])
    writer.write_rows(replace(rows, received_at=[at] * 3))
    writer.write(FIRST, [(False, [("a", NOW)])])
    writer.database.close()
    as_administrator(database, "UPDATE project SET retention_days = 5 WHERE project_id = 1")
    run_round(database)
    assert as_administrator(database, "SELECT count(*)::int FROM api_request") == [(1,)]
    assert distinct(database, FIRST, date(2020, 1, 1), date(2040, 1, 1)) == (2, 2)
    assert distinct(database, FIRST, NOW.date(), date(2040, 1, 1)) == (1, 0)
    assert verify(database).drifts == []


@pytest.fixture
def many_groups(database: MigratedDatabase) -> Iterator[Writer]:
    writer = Writer(database, 0)
    yield writer
    writer.database.close()


def test_facts_of_many_groups_are_printed_as_one_line_a_project(
    many_groups: Writer, database: MigratedDatabase
) -> None:
    rows = rows_of(FIRST, [(None, NOW)] * 30)
    rows.columns.response_us[:] = [each * 10_000 for each in range(30)]
    many_groups.write_rows(rows)
    verdict = verify(database)
    printed = [line.split() for line in verify_counts.printed(verdict.counts).splitlines()]
    assert printed.count(["1", "30", "0", "30", "30"]) == 2  # by band, and by endpoint, too
    assert ["1", "0", "none", "0", "0"] in printed  # the fastest
    as_administrator(database, "UPDATE api_request_day SET event_count = event_count + 1 WHERE latency_band = 0")
    as_administrator(database, "UPDATE api_request_day SET cell_2 = 1 WHERE latency_band = 0")
    assert verify(database).drifts == [
        "api_request, project 1, 0: days 2, facts + retired 1 (+1)",
        "api_request, project 1, 0, cell_2: days 1, facts + retired 0 (+1)",
    ]
