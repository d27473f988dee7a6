"""What the database knows is shown while it answers, and is not shown as long as it does not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from time import time

import pytest
from psycopg2 import sql

from device_registration_api.exports.horizon import HORIZON_AGE, HorizonAge
from device_registration_api.metrics.stored import (
    DATABASE_ANSWERS,
    DEFAULT_PARTITION_ROWS,
    DRIFT,
    ERASURE_AGE,
    ERASURES_OPEN,
    MAINTAINED_AT,
    VERIFIED_AT,
    StoredState,
    read_stored,
)
from servicekit.database.pool import Database
from servicekit.metrics.cells import Cells
from servicekit.metrics.families import Family
from servicekit.metrics.shared import SharedCells
from tests.database import administrator, dsn_of, rows
from tests.servers import Cluster, MigratedDatabase, finished_command, run_command

INSERT_FACT_OF_NO_WEEK = """
    INSERT INTO auth_event (project_id, event_id, user_key, device_type, received_at, occurred_at)
    SELECT 1, gen_random_uuid(), 'one', 'iOS', '2001-01-01', '2001-01-01' FROM generate_series(1, 3)
"""
INSERT_INFINITE_FACT = """
    INSERT INTO auth_event (project_id, event_id, user_key, device_type, received_at, occurred_at)
    VALUES (1, gen_random_uuid(), 'one', 'iOS', 'infinity', '2001-01-01')
"""
INSERT_ERASURES = """
    INSERT INTO erasure (project_id, receipt, person_id, requested_at, finished_at)
    VALUES (1, gen_random_uuid(), gen_random_uuid(), now() - interval '25 hours', NULL),
           (1, gen_random_uuid(), gen_random_uuid(), now() - interval '1 hour', NULL),
           (1, gen_random_uuid(), gen_random_uuid(), now() - interval '90 hours', now())
"""


@pytest.fixture
async def pool(database: MigratedDatabase) -> AsyncIterator[Database]:
    pool = Database(dsn_of(database.writer_env), connections_max=1, wait_seconds_max=1)
    yield pool
    pool.close()


async def test_alarms_of_the_database_are_shown_until_it_is_away_and_again_when_it_is_back(
    pool: Database, database: MigratedDatabase, cluster: Cluster, tmp_path: Path
) -> None:
    state, shared = StoredState(Cells(tmp_path), [(pool, read_stored)]), SharedCells(tmp_path)

    async def shown(family: Family) -> dict[tuple[str, ...], list[float]]:
        await state.show()
        return shared.read().get(family, {})

    assert await shown(ERASURES_OPEN) == {(): [0]}
    assert await shown(ERASURE_AGE) == {(): [0]}
    rows(database, INSERT_FACT_OF_NO_WEEK)
    rows(database, INSERT_ERASURES)
    assert (await shown(DEFAULT_PARTITION_ROWS))["auth_event",] == [3]
    assert await shown(ERASURES_OPEN) == {(): [2]}
    assert (await shown(ERASURE_AGE))[()][0] == pytest.approx(25 * 3600, abs=60)

    name = sql.Identifier(database.admin_url.rpartition("/")[2].partition("?")[0])
    cluster.execute(sql.SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS false").format(name=name))
    with administrator(MigratedDatabase(cluster.admin_url())) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %(name)s",
            {"name": name.string},
        )
    assert await shown(DATABASE_ANSWERS) == {(): [0]}
    assert set(shared.read()) == {DATABASE_ANSWERS}

    cluster.execute(sql.SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS true").format(name=name))
    assert await shown(DATABASE_ANSWERS) == {(): [1]}
    assert await shown(ERASURES_OPEN) == {(): [2]}


async def test_the_ends_of_commands_and_what_they_found_are_shown_and_a_failed_round_changes_nothing(
    pool: Database, database: MigratedDatabase, tmp_path: Path
) -> None:
    state, shared = StoredState(Cells(tmp_path), [(pool, read_stored)]), SharedCells(tmp_path)

    async def shown(family: Family) -> float | None:
        await state.show()
        return shared.read().get(family, {}).get((), [None])[0]

    assert [await shown(family) for family in (MAINTAINED_AT, VERIFIED_AT, DRIFT)] == [None, None, None]
    rows(database, INSERT_INFINITE_FACT)  # no partition can take it, so the round ends with an alarm
    assert (await asyncio.to_thread(finished_command, database.writer_env, "maintain")).returncode == 1
    assert await shown(MAINTAINED_AT) is None
    rows(database, "TRUNCATE auth_event_default")
    for command, family in (("maintain", MAINTAINED_AT), ("verify-counts", VERIFIED_AT)):
        await asyncio.to_thread(run_command, database.writer_env, command)
        assert await shown(family) == pytest.approx(time(), abs=60)
    assert await shown(DRIFT) == 0
    rows(database, INSERT_FACT_OF_NO_WEEK)  # and nothing counts them
    assert (await asyncio.to_thread(finished_command, database.writer_env, "verify-counts")).returncode == 1
    found = await shown(DRIFT)
    assert found is not None
    assert found > 0


async def test_the_time_for_which_a_transaction_holds_back_exports_is_shown(
    pool: Database, database: MigratedDatabase
) -> None:
    now = 0.0
    horizon = HorizonAge(lambda: now)

    async def age() -> float:
        return (await pool.run(horizon.read, 5))[HORIZON_AGE, ()]

    assert await age() == 0
    with administrator(database) as session, session.cursor() as cursor:
        cursor.execute("BEGIN; SELECT pg_current_xact_id()::text")
        ages = []
        for _ in range(3):
            rows(database, "SELECT pg_current_xact_id()::text")
            now += 15
            ages.append(await age())
        cursor.execute("COMMIT")
    assert ages == [0, 15, 30]
    now += 15
    assert await age() == 0
