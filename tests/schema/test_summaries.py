"""maintenance.summarize: who looks for the newest facts reads no others."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import errors

from device_registration_api.auth_events.commands import FOLLOWER
from tests.database import dsn_of
from tests.maintenance.rounds import as_administrator, as_writer

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

FACTS = 20_000
STORE = f"""
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT 1, now(), gen_random_uuid(), now(), 'iOS', 'u' FROM generate_series(1, {FACTS})
"""  # noqa: S608 - a constant
WEEK = "SELECT DISTINCT tableoid::regclass::text FROM auth_event"
# None of the facts has this transaction: what is read of them was read in vain.
SEARCH = "EXPLAIN (ANALYZE, FORMAT JSON) SELECT FROM {week} WHERE commit_xid = 1"
SUMMARIZE = "SELECT maintenance.summarize('auth_event')"
SCANNED = "SELECT seq_tup_read::int FROM pg_stat_user_tables WHERE relname = %(week)s"


@pytest.fixture
def week(database: MigratedDatabase) -> str:
    """The partition of some new facts, which autovacuum does not visit."""
    as_administrator(database, STORE)
    [(name,)] = as_administrator(database, WEEK)
    as_administrator(database, f"ALTER TABLE {name} SET (autovacuum_enabled = false)")
    return str(name)


def read_in_vain(database: MigratedDatabase, week: str) -> int:
    """How many facts a search for a transaction reads that is not there."""
    with (
        closing(psycopg2.connect(database.admin_url, options="-c enable_seqscan=off")) as conn,
        conn.cursor() as cursor,
    ):
        cursor.execute(SEARCH.format(week=week))
        [([explained],)] = cursor.fetchall()
    return int(explained["Plan"].get("Rows Removed by Index Recheck", 0))


def test_a_search_reads_what_has_no_summary(database: MigratedDatabase, week: str) -> None:
    assert read_in_vain(database, week) > 0
    as_writer(database, SUMMARIZE)
    assert read_in_vain(database, week) == 0
    as_writer(database, SUMMARIZE)
    assert read_in_vain(database, week) == 0


def test_it_waits_for_nobody(database: MigratedDatabase, week: str) -> None:
    with closing(psycopg2.connect(database.admin_url)) as vacuum, vacuum.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {week} IN SHARE UPDATE EXCLUSIVE MODE")
        as_writer(database, SUMMARIZE)  # with a statement_timeout
    assert read_in_vain(database, week) > 0
    as_writer(database, SUMMARIZE)
    assert read_in_vain(database, week) == 0


def test_it_knows_the_tables_of_facts_alone(database: MigratedDatabase) -> None:
    with pytest.raises(errors.InvalidParameterValue):
        as_writer(database, "SELECT maintenance.summarize('project')")


def test_the_follower_reads_by_the_index(database: MigratedDatabase, week: str) -> None:
    """The planner has no statistics of a new week, and would read all of it."""
    with closing(psycopg2.connect(dsn_of(database.writer_env))) as conn:
        FOLLOWER.catch_up(conn)
        as_administrator(database, STORE)
        as_administrator(database, "SELECT pg_stat_reset()")
        FOLLOWER.catch_up(conn)
        with conn, conn.cursor() as cursor:
            cursor.execute("SELECT pg_stat_force_next_flush()")
    # Each fact once, for its summary.
    [(scanned,)] = as_administrator(database, SCANNED, week=week)
    assert scanned < 2 * FACTS
    assert as_administrator(database, "SELECT count(*) FROM auth_event_presence WHERE segment = 0") == [(1,)]
