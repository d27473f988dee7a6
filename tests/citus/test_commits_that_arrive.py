"""A commit arrives on the workers after it is one on the coordinator: followers and exports wait for it."""

from contextlib import closing
from typing import NamedTuple

import psycopg2
from psycopg2 import sql

from device_registration_api.citus.state import horizon_of
from tests.citus_nodes import forget_commits
from tests.maintenance.rounds import as_administrator
from tests.servers import MigratedDatabase

# In shards on both workers: what one worker has alone is committed there first.
RECORD = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT 1, now(), gen_random_uuid(), now(), 'iOS', 'u' FROM generate_series(1, 20)
"""
LAST = "SELECT max(commit_xid)::bigint FROM auth_event"
LOOK = sql.SQL("SELECT {horizon}, EXISTS (SELECT FROM pg_dist_transaction)")
# The coordinator may forget a commit in the moment between two statements.
ATTEMPTS = 3


class Look(NamedTuple):
    """The transaction of the last event, the horizon, and whether a commit may not have arrived everywhere."""

    last: int
    horizon: int
    is_remembered: bool


def look(database: MigratedDatabase) -> Look:
    with closing(psycopg2.connect(database.admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(LAST)
        [(last,)] = cursor.fetchall()
        cursor.execute(LOOK.format(horizon=sql.SQL(horizon_of(connection))))
        [(horizon, is_remembered)] = cursor.fetchall()
        return Look(last, horizon, is_remembered)


def test_the_horizon_waits_for_the_workers(database: MigratedDatabase) -> None:
    for _ in range(ATTEMPTS):
        as_administrator(database, RECORD)
        seen = look(database)
        if seen.is_remembered:
            break
    assert seen.is_remembered
    assert seen.horizon <= seen.last

    forget_commits(database.admin_url)

    seen = look(database)
    assert not seen.is_remembered
    assert seen.horizon > seen.last
