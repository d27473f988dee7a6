"""Partitions: made ahead, the day of a roll-over, and a default partition that was hit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import errors

from device_registration_api.maintenance.partitions import week_of
from tests.maintenance.rounds import as_administrator, as_writer, create_partition, places, record, run_round, verify

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

MICROSECOND = timedelta(microseconds=1)
# A Monday far from the weeks that the template was made with.
ROLL_OVER = datetime(2031, 3, 31, tzinfo=UTC)  # and the week in which Europe changes its clocks
BEFORE, AFTER = "auth_event_20310324", "auth_event_20310331"


def partitions(database: MigratedDatabase) -> set[object]:
    children = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'auth_event'::regclass"
    return {name for (name,) in as_administrator(database, children)}


@pytest.mark.parametrize(
    ("moment", "monday"),
    [
        ("2026-11-16T00:00:00+00:00", date(2026, 11, 16)),
        ("2026-11-15T23:59:59.999999+00:00", date(2026, 11, 9)),
        ("2026-11-16T00:30:00+01:00", date(2026, 11, 9)),  # still Sunday in UTC
        ("2027-01-01T00:00:00+00:00", date(2026, 12, 28)),
    ],
)
def test_a_week_begins_on_monday_in_utc(moment: str, monday: date) -> None:
    assert week_of(datetime.fromisoformat(moment)) == monday


def test_the_current_week_and_four_more_are_made(database: MigratedDatabase) -> None:
    before = partitions(database)
    ok, lines = run_round(database, ROLL_OVER - MICROSECOND, retention_days=0)
    assert ok
    made = {f"auth_event_{ROLL_OVER.date() + timedelta(days=7 * n):%Y%m%d}" for n in range(-1, 4)}
    assert partitions(database) == before | made
    assert lines[1].startswith("partitions of auth_event: created 2031-03-24, 2031-03-31")

    run_round(database, ROLL_OVER, retention_days=0)
    assert partitions(database) == before | made | {"auth_event_20310428"}
    assert run_round(database, ROLL_OVER, retention_days=0)[1][1] == "partitions of auth_event: created none"


def test_on_the_day_of_a_roll_over_each_side_lands_in_its_own_week(database: MigratedDatabase) -> None:
    run_round(database, ROLL_OVER - MICROSECOND, retention_days=0)
    record(database, ROLL_OVER - MICROSECOND, ROLL_OVER, ROLL_OVER + MICROSECOND)
    assert places(database) == {BEFORE: 1, AFTER: 2}


@pytest.mark.parametrize("side", [-MICROSECOND, timedelta(0), MICROSECOND])
def test_a_roll_over_without_the_new_week_is_repaired_from_either_side(
    database: MigratedDatabase, side: timedelta
) -> None:
    create_partition(database, date(2031, 3, 24))
    record(database, ROLL_OVER - MICROSECOND, ROLL_OVER, ROLL_OVER + MICROSECOND)
    assert places(database) == {BEFORE: 1, "auth_event_default": 2}

    ok, lines = run_round(database, ROLL_OVER + side, retention_days=0)

    assert ok
    assert places(database) == {BEFORE: 1, AFTER: 2}
    assert any("ALARM" in line and "2 rows" in line for line in lines)
    assert not verify(database).drifts
    assert not [line for line in run_round(database, ROLL_OVER + side, retention_days=0)[1] if "ALARM" in line]


def test_rows_of_every_week_leave_the_default_partition_unchanged(database: MigratedDatabase) -> None:
    moments = [ROLL_OVER + timedelta(days=days) for days in (-300, -8, 0, 3, 400)]
    record(database, *moments)
    facts = "SELECT * FROM auth_event ORDER BY event_id"
    before = as_writer(database, facts)

    ok, _ = run_round(database, ROLL_OVER, retention_days=0)

    assert ok
    assert as_writer(database, facts) == before
    assert "auth_event_default" not in places(database)


def test_a_row_that_no_week_can_hold_keeps_the_alarm_on(database: MigratedDatabase) -> None:
    as_writer(database, "INSERT INTO auth_event VALUES (1, 'infinity', gen_random_uuid(), now(), 'iOS', 'u')")
    for _ in range(2):
        ok, lines = run_round(database)
        assert not ok
        assert any("ALARM: 1 rows are in the default partition" in line for line in lines)


def test_only_mondays_begin_a_week(database: MigratedDatabase) -> None:
    with pytest.raises(errors.InvalidParameterValue, match="Monday"):
        create_partition(database, date(2031, 4, 1))


def test_a_new_week_refuses_what_belongs_to_another_and_keeps_keys_unique(database: MigratedDatabase) -> None:
    create_partition(database, date(2031, 3, 31))
    insert = """
        INSERT INTO auth_event VALUES
            (1, %(at)s, '018f0000-0000-7000-8000-000000000001', %(at)s, 'iOS', 'u')
    """
    as_writer(database, insert, at=ROLL_OVER)
    with pytest.raises(errors.UniqueViolation):
        as_writer(database, insert, at=ROLL_OVER)
    with pytest.raises(psycopg2.errors.CheckViolation):
        as_administrator(
            database,
            f"INSERT INTO {AFTER} VALUES (1, %(at)s, gen_random_uuid(), now(), 'iOS', 'u')",  # noqa: S608 - a constant
            at=ROLL_OVER - MICROSECOND,
        )
