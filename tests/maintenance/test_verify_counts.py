"""Each kind of drift, made by hand, is found and named."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest

from local.database import base_environment
from tests.maintenance.rounds import as_administrator, record, verify

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

YESTERDAY = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def counted(database: MigratedDatabase) -> MigratedDatabase:
    record(database, YESTERDAY, YESTERDAY, YESTERDAY - timedelta(days=40), device_type="iOS")
    record(database, YESTERDAY, device_type="TV")
    as_administrator(database, "INSERT INTO auth_event_retired VALUES (1, 'iOS', 7)")
    as_administrator(
        database,
        """
        UPDATE auth_event_total SET event_count = event_count + 7 WHERE device_type = 'iOS';
        INSERT INTO auth_event_quarter_hour VALUES (1, 'iOS', '2020-01-01Z', 3, 7)
        """,
    )
    return database


def command(database: MigratedDatabase) -> tuple[int, str]:
    outcome = subprocess.run(
        [sys.executable, "-m", "device_registration_api", "verify-counts"],
        env={**base_environment(), **database.writer_env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in outcome.stderr
    return outcome.returncode, outcome.stdout + outcome.stderr


def test_exact_counts_are_a_table_and_exit_code_0(counted: MigratedDatabase) -> None:
    code, printed = command(counted)
    assert code == 0, printed
    assert "no drift" in printed
    cells = [line.split() for line in printed.splitlines()]
    assert ["1", "iOS", "3", "7", "10", "10"] in cells
    assert ["1", "TV", "1", "0", "1", "1"] in cells


def test_an_empty_database_has_no_drift(database: MigratedDatabase) -> None:
    assert verify(database) == (["api_request", "auth_event", "measurement", "store_event"], [], [])


@pytest.mark.parametrize(
    ("tampering", "drifts"),
    [
        ("UPDATE auth_event_total SET event_count = event_count + 1 WHERE device_type = 'TV'", ["TV: total 2"]),
        ("DELETE FROM auth_event_total WHERE device_type = 'TV'", ["TV: total 0"]),
        ("INSERT INTO auth_event_total VALUES (2, 'Watch', 5, 1)", ["project 2, Watch: total 1"]),
        ("DELETE FROM auth_event WHERE device_type = 'TV'", ["TV: total 1", "TV: quarter hours 1"]),
        (
            "UPDATE auth_event_retired SET event_count = 6",
            ["iOS: total 10, facts + retired 9 (+1)", "iOS: quarter hours 10"],
        ),
        (
            "UPDATE auth_event_quarter_hour SET event_count = 6 WHERE bucket_start = '2020-01-01Z'",
            ["iOS: quarter hours 9, facts + retired 10 (-1)"],
        ),
        ("DELETE FROM auth_event_minute WHERE device_type = 'TV'", [f"TV, {YESTERDAY.date()}: minutes 0"]),
        (
            "UPDATE auth_event_minute SET bucket_start = bucket_start - interval '1 day' WHERE device_type = 'TV'",
            [f"TV, {YESTERDAY.date() - timedelta(days=1)}: minutes 1", f"TV, {YESTERDAY.date()}: minutes 0"],
        ),
        # Beyond the days that are compared: maintain deletes them.
        ("DELETE FROM auth_event_minute WHERE bucket_start < now() - interval '36 days'", []),
    ],
)
def test_each_kind_of_drift_is_named(counted: MigratedDatabase, tampering: str, drifts: list[str]) -> None:
    assert not verify(counted).drifts
    as_administrator(counted, tampering)
    found = verify(counted).drifts
    assert len(found) == len(drifts)
    assert all(expected in drift for expected, drift in zip(drifts, found, strict=True)), found


def test_a_drift_is_exit_code_1(counted: MigratedDatabase) -> None:
    as_administrator(counted, "DELETE FROM auth_event WHERE device_type = 'TV'")
    code, printed = command(counted)
    assert code == 1
    assert "drift: auth_event, project 1, TV: total 1, facts + retired 0 (+1)" in printed


def test_it_neither_waits_for_writers_nor_sees_half_of_their_work(counted: MigratedDatabase) -> None:
    with closing(psycopg2.connect(counted.admin_url)) as conn, conn.cursor() as cur:
        cur.execute("INSERT INTO auth_event VALUES (1, now(), gen_random_uuid(), now(), 'iOS', 'u')")
        assert not verify(counted).drifts
        conn.rollback()
