"""A deleted project leaves no row in any table, whatever interrupts its removal, and no other project loses one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import sql

from contract.access import Scope
from device_registration_api.access import projects
from device_registration_api.maintenance import deletion
from local.database import base_environment
from servicekit.errors import Conflict, NotFound
from tests.access.key_commands import connected, create_key, create_project
from tests.database import rows
from tests.maintenance.rounds import follow
from tests.servers import finished_command, run_command

if TYPE_CHECKING:
    from servicekit.database import Connection
    from tests.servers import MigratedDatabase

# Every table that has rows of projects, partitions and future tables included.
TABLES = """
    SELECT attrelid::regclass::text FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
     WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attname = 'project_id'
"""
# Ten days of events with their counts, in every table of one kind and in some of the other.
FILL = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, moment, gen_random_uuid(), moment, 'iOS', 'u'
      FROM generate_series(now() - interval '10 days', now(), interval '10 days' / %(events)s) AS moment;
    INSERT INTO auth_event_total VALUES (%(project)s, 'iOS', 0, %(events)s + 1);
    INSERT INTO auth_event_quarter_hour
    SELECT project_id, device_type, date_bin('15 minutes', occurred_at, '2000-01-01Z'), 0, count(*)
      FROM auth_event WHERE project_id = %(project)s GROUP BY 1, 2, 3;
    INSERT INTO auth_event_minute
    SELECT project_id, device_type, date_bin('1 minute', occurred_at, '2000-01-01Z'), 0, count(*)
      FROM auth_event WHERE project_id = %(project)s GROUP BY 1, 2, 3;
    INSERT INTO api_request (project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method, status_code,
           response_us)
    VALUES (%(project)s, now(), gen_random_uuid(), now(), 1, '/', 'GET', 200, 1);
    INSERT INTO api_endpoint VALUES (%(project)s, 1, 'GET', '/');
    INSERT INTO api_request_retired VALUES (%(project)s, 1, 2, 1, 0, 0, 1, 1, 1);
    INSERT INTO idempotency (project_id, key, event_id, received_at)
    VALUES (%(project)s, 'k', gen_random_uuid(), now());
    INSERT INTO project_member VALUES (%(project)s, gen_random_uuid(), 'owner', now());
"""
EVENTS = 2_000


def number_of(database: MigratedDatabase, project_key: str) -> int:
    [(project_id,)] = rows(database, "SELECT project_id FROM project WHERE project_key = %(key)s", {"key": project_key})
    return int(project_id)


def filled_project(database: MigratedDatabase) -> str:
    with connected(database) as conn:
        project = create_project(conn, "shop")
        create_key(conn, project, [Scope.INGEST], expires_at=None)
    rows(database, FILL, {"project": number_of(database, project), "events": EVENTS})
    return project


def delete(database: MigratedDatabase, project: str, minutes_ago: int = 2) -> None:
    """As an owner does it, and as if some time had passed since."""
    with connected(database) as conn, conn:
        projects.delete_project(conn, project, None)
    rows(
        database,
        "UPDATE project SET deleted_at = deleted_at - %(ago)s * interval '1 minute' WHERE project_key = %(key)s",
        {"key": project, "ago": minutes_ago},
    )


def left(database: MigratedDatabase, project_id: int) -> dict[str, int]:
    """How many rows of a project each table has."""
    found = {}
    with closing(psycopg2.connect(database.admin_url)) as conn, conn.cursor() as cursor:
        cursor.execute(TABLES)
        for (table,) in cursor.fetchall():
            statement = sql.SQL("SELECT count(*) FROM {} WHERE project_id = %s").format(sql.Identifier(table))
            cursor.execute(statement, (project_id,))
            found[table] = sum(int(count) for (count,) in cursor.fetchall())
    return {table: count for table, count in found.items() if count}


def drifting_projects(database: MigratedDatabase) -> set[int]:
    """Not every count of the rows above is stored, so each project has a drift as long as it is looked at."""
    printed = finished_command(database.writer_env, "verify-counts").stdout
    return {int(number) for number in re.findall(r"(?m)^drift: .*?, project (\d+)", printed)}


def rounds(conn: Connection, batches: int) -> list[deletion.Deletion]:
    """One round that is told to stop after some transactions."""
    calls = iter(range(batches))
    return list(deletion.delete_projects(conn, lambda: next(calls, None) is None, lambda _: True))


def test_no_row_is_left_and_no_other_project_loses_one(database: MigratedDatabase) -> None:
    gone, kept = filled_project(database), filled_project(database)
    gone_id, kept_id = number_of(database, gone), number_of(database, kept)
    follow(database)  # as `maintain` will: it stores presences
    before = left(database, kept_id)
    assert left(database, gone_id).keys() == before.keys()
    assert len(before) > 10
    assert drifting_projects(database) == {gone_id, kept_id}
    delete(database, gone)

    assert drifting_projects(database) == {kept_id}
    printed = run_command(database.writer_env, "maintain")
    total = sum(before.values()) - 1  # the project itself is not a row that is counted
    assert f"project {gone_id}, deleted " in printed
    assert f"{total} rows removed, nothing is left of it" in printed
    assert left(database, gone_id) == {}
    after = left(database, kept_id)
    assert after.pop("project_retention") == 2  # what `maintain` has noted of each kind
    assert sum(after.values()) == total + 1  # it has also moved the events to the weeks that it made
    assert "deleted projects: none" in run_command(database.writer_env, "maintain")


def test_a_project_is_removed_a_minute_after_its_deletion_and_not_before(database: MigratedDatabase) -> None:
    project = filled_project(database)
    project_id = number_of(database, project)
    before = left(database, project_id)
    delete(database, project, minutes_ago=0)
    with connected(database) as conn:
        assert rounds(conn, 10) == []
    assert left(database, project_id) == before


def test_a_round_that_is_stopped_is_continued_by_the_next(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "BATCH_ROWS", 300)
    project = filled_project(database)
    project_id = number_of(database, project)
    all_rows = sum(left(database, project_id).values()) - 1
    delete(database, project)
    removed = 0
    with connected(database) as conn:
        for _ in range(3):
            [one] = rounds(conn, 2)
            assert not one.is_complete
            assert 0 < one.rows <= 600
            removed += one.rows
            assert sum(left(database, project_id).values()) - 1 == all_rows - removed
        [last] = rounds(conn, 1_000)
    assert last.is_complete
    assert removed + last.rows == all_rows
    assert left(database, project_id) == {}


def test_a_killed_maintain_is_continued_by_the_next(database: MigratedDatabase) -> None:
    project = filled_project(database)
    project_id = number_of(database, project)
    delete(database, project)
    with closing(psycopg2.connect(database.admin_url)) as blocker, blocker.cursor() as cursor:
        # The tables go by their names: the events go, and then the counts are waited for.
        cursor.execute("SELECT FROM auth_event_total WHERE project_id = %s FOR UPDATE", (project_id,))
        process = subprocess.Popen(
            [sys.executable, "-m", "device_registration_api", "maintain", "--every", "1"],
            env=base_environment() | database.writer_env,
            stdout=subprocess.DEVNULL,
        )
        try:
            until = time.monotonic() + 30
            while any(table.startswith("auth_event_2") for table in left(database, project_id)):
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
        assert "auth_event_total" in left(database, project_id)
    assert "nothing is left of it" in run_command(database.writer_env, "maintain")
    assert left(database, project_id) == {}


def test_a_deleted_project_does_not_exist_for_anyone(database: MigratedDatabase) -> None:
    project = filled_project(database)
    delete(database, project)
    with connected(database) as conn, conn:
        for _ in range(2):
            with pytest.raises(NotFound):
                projects.delete_project(conn, project, None)
        with pytest.raises(Conflict):
            projects.delete_project(conn, "default", None)
    assert rows(database, "SELECT count(*) FROM stats.project WHERE project_key = %(key)s", {"key": project}) == [(0,)]
    assert rows(database, "SELECT DISTINCT project_is_active FROM stats.api_key") == [(False,)]
