"""The latest measurement of a device outlives its fact, unless that was sent by mistake and is deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest

from device_registration_api.maintenance import wrong_events
from device_registration_api.maintenance.partitions import WEEK, week_of
from device_registration_api.maintenance.wrong_events import WrongEvents, delete_wrong_events
from tests.maintenance.rounds import as_administrator, create_partition, run_round, settings

if TYPE_CHECKING:
    from servicekit.database import Connection
    from tests.servers import MigratedDatabase

NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=60)
DEVICE = "INSERT INTO device (project_id, device_number, device_id) VALUES (1, %(device)s, 'd' || %(device)s)"
FACT = """
    INSERT INTO measurement (project_id, received_at, event_id, occurred_at, device_number, x, y, z)
    VALUES (1, %(received_at)s, gen_random_uuid(), %(at)s, %(device)s, %(x)s, 0, 0)
    RETURNING event_id
"""
# As measurements/commands.py has it.
LATEST = """
    INSERT INTO device_latest AS l VALUES (1, %(device)s, %(at)s, %(event_id)s, %(x)s, 0, 0)
        ON CONFLICT (project_id, device_number)
        DO UPDATE SET occurred_at = excluded.occurred_at, event_id = excluded.event_id, x = excluded.x
         WHERE (excluded.occurred_at, excluded.event_id) > (l.occurred_at, l.event_id)
"""
WAITING = """
    SELECT count(*)::int FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


def connect(database: MigratedDatabase) -> Connection:
    chosen = settings(database)
    return psycopg2.connect(
        host=chosen.db_host,
        port=chosen.db_port,
        dbname=chosen.db_name,
        user=chosen.db_user,
        password=chosen.db_password.get_secret_value(),
    )


def measure(conn: Connection, at: datetime, x: float, device: int = 1, received_at: datetime | None = None) -> None:
    measured = {"device": device, "at": at, "x": x, "received_at": received_at or at}
    with conn.cursor() as cursor:
        cursor.execute(FACT, measured)
        [(event_id,)] = cursor.fetchall()
        cursor.execute(LATEST, {**measured, "event_id": event_id})


@pytest.fixture
def measured(database: MigratedDatabase) -> MigratedDatabase:
    """Two devices; the first one was wrong in the last two hours."""
    for device in (1, 2):
        as_administrator(database, DEVICE, device=device)
    create_partition(database, week_of(OLD), "measurement")
    with closing(connect(database)) as conn:
        for hours in (5, 4, 2, 1):
            measure(conn, NOW - timedelta(hours=hours), x=hours)
        measure(conn, OLD, x=0, device=2)
        conn.commit()
    return database


def latest(database: MigratedDatabase) -> dict[int, float]:
    """Device -> what it measured last."""
    return dict(as_administrator(database, "SELECT device_number, x FROM device_latest"))


def delete(database: MigratedDatabase, hours: int) -> int:
    """Delete the measurements of the last hours."""
    with closing(connect(database)) as conn:
        return delete_wrong_events(
            conn, WrongEvents("measurements", "default", None, NOW - timedelta(hours=hours), NOW)
        )


@pytest.mark.parametrize("rows", [1, 5_000])
def test_after_wrong_measurements_were_deleted_it_is_the_latest_that_is_left(
    measured: MigratedDatabase, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(wrong_events, "BATCH_ROWS", rows)
    assert latest(measured) == {1: 1, 2: 0}
    assert delete(measured, 3) == 2
    assert latest(measured) == {1: 4, 2: 0}
    assert delete(measured, 9) == 2
    assert latest(measured) == {2: 0}
    with closing(connect(measured)) as conn:
        measure(conn, NOW - timedelta(hours=6), x=6)
        conn.commit()
    assert latest(measured) == {1: 6, 2: 0}


def test_it_stays_when_its_week_is_retired(measured: MigratedDatabase) -> None:
    assert run_round(measured, retention_days=14)[0]
    assert as_administrator(measured, "SELECT FROM measurement WHERE device_number = 2") == []
    assert latest(measured) == {1: 1, 2: 0}
    assert delete(measured, 3) == 2
    assert latest(measured) == {1: 4, 2: 0}


def test_a_measurement_that_is_being_recorded_is_not_missed(measured: MigratedDatabase) -> None:
    """It is older than the wrong one, and so changes nothing; the deletion waits for it, and then finds it."""
    with closing(connect(measured)) as writer, ThreadPoolExecutor(1) as pool:
        measure(writer, NOW - timedelta(hours=3), x=3)
        deleting = pool.submit(delete, measured, 2)
        while as_administrator(measured, WAITING) != [(1,)]:
            assert not deleting.done()
        writer.commit()
        assert deleting.result() == 2
    assert latest(measured)[1] == 3


def test_a_late_week_is_no_reason(measured: MigratedDatabase) -> None:
    """What was measured last may have arrived in any week."""
    with closing(connect(measured)) as conn:
        measure(conn, NOW - timedelta(hours=3), x=3, received_at=NOW + WEEK)
        conn.commit()
    assert delete(measured, 2) == 2
    assert latest(measured)[1] == 3
