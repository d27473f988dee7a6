"""Facts leave, counts stay; and the rows that are kept for a while only."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from psycopg2 import errors

from device_registration_api.maintenance import expiry
from tests.maintenance.rounds import as_administrator, as_writer, create_partition, places, record, run_round, verify

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

# The week of Monday 2024-01-08 ends, and so becomes 400 days old, exactly 400 days before this.
NOW = datetime(2024, 1, 15, tzinfo=UTC) + timedelta(days=400)


def two_old_weeks(database: MigratedDatabase) -> None:
    for week in (date(2024, 1, 8), date(2024, 1, 15)):
        create_partition(database, week)
        middle = datetime(week.year, week.month, week.day, tzinfo=UTC) + timedelta(days=3)
        record(database, middle, middle, device_type="iOS")
        record(database, middle, device_type="TV")


def retired(database: MigratedDatabase) -> dict[object, object]:
    return dict(as_writer(database, "SELECT device_type::text, event_count::int FROM auth_event_retired"))


def test_a_week_is_retired_when_all_of_it_is_older_and_not_before(database: MigratedDatabase) -> None:
    two_old_weeks(database)
    both = {"auth_event_20240108": 3, "auth_event_20240115": 3}

    run_round(database, NOW - timedelta(microseconds=1))
    assert places(database) == both
    assert retired(database) == {}

    ok, lines = run_round(database, NOW)
    assert ok
    assert places(database) == {"auth_event_20240115": 3}
    assert retired(database) == {"iOS": 2, "TV": 1}
    assert "retention of auth_event: week 2024-01-08 dropped, its 3 facts stay counted" in lines
    assert not as_administrator(database, "SELECT WHERE to_regclass('auth_event_20240108') IS NOT NULL")


def test_totals_stay_equal_to_facts_and_retired_through_every_retirement(database: MigratedDatabase) -> None:
    two_old_weeks(database)
    record(database, datetime.now(UTC))
    for weeks in range(3):
        run_round(database, NOW + weeks * timedelta(days=7))
        verdict = verify(database)
        assert not verdict.drifts
        assert {each.group[1]: each.by_source["total"] for each in verdict.counts} == {"iOS": 5, "TV": 2}
    assert retired(database) == {"iOS": 4, "TV": 2}


def test_zero_keeps_facts_for_ever(database: MigratedDatabase) -> None:
    two_old_weeks(database)
    ok, lines = run_round(database, NOW + timedelta(days=10_000), retention_days=0)
    assert ok
    assert places(database) == {"auth_event_20240108": 3, "auth_event_20240115": 3}
    assert "retention of auth_event: facts are kept for ever" in lines


def test_what_fails_half_way_changes_nothing(database: MigratedDatabase) -> None:
    two_old_weeks(database)
    as_administrator(database, "ALTER TABLE auth_event_retired ADD CHECK (device_type <> 'TV')")
    with pytest.raises(errors.CheckViolation):
        run_round(database, NOW)
    assert places(database) == {"auth_event_20240108": 3, "auth_event_20240115": 3}
    assert retired(database) == {}


def test_the_login_cannot_retire_what_is_young_whatever_the_time_it_claims(database: MigratedDatabase) -> None:
    monday = datetime.now(UTC).date() - timedelta(days=datetime.now(UTC).weekday())
    record(database, datetime.now(UTC))
    for week in (monday, monday + timedelta(days=7)):
        with pytest.raises(errors.InvalidParameterValue, match="too young"):
            as_writer(database, "SELECT maintenance.retire_partition('auth_event', %(week)s)", week=week)
    assert sum(places(database).values()) == 1


def test_minutes_are_deleted_after_35_days_and_not_before(database: MigratedDatabase) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    bound = now - timedelta(days=35)
    minutes = [bound - timedelta(minutes=1), bound, bound + timedelta(minutes=1)]
    record(database, *minutes)

    _, lines = run_round(database, now)

    kept = as_writer(database, "SELECT bucket_start FROM auth_event_minute ORDER BY 1")
    assert kept == [(bound,), (bound + timedelta(minutes=1),)]
    assert "minutes of auth_event: 1 buckets older than 35 days deleted" in lines
    assert as_writer(database, "SELECT sum(event_count)::int FROM auth_event_quarter_hour") == [(3,)]


def test_keys_are_deleted_after_48_hours_and_not_before(database: MigratedDatabase) -> None:
    now = datetime.now(UTC)
    bound = now - timedelta(hours=48)
    for name, created in (("older", bound - timedelta(microseconds=1)), ("at", bound), ("new", now)):
        as_writer(
            database,
            """
            INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at, created_at)
            VALUES (1, %(name)s, sha256('x'), gen_random_uuid(), now(), %(created)s)
            """,
            name=name,
            created=created,
        )
    _, lines = run_round(database, now)
    assert as_writer(database, "SELECT key FROM idempotency ORDER BY key") == [("at",), ("new",)]
    assert "idempotency: 1 keys older than 48 hours deleted" in lines


def test_many_old_rows_are_deleted_in_bounded_transactions(
    database: MigratedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(expiry, "BATCH_ROWS", 100)
    as_writer(
        database,
        """
        INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at, created_at)
        SELECT 1, n::text, sha256('x'), gen_random_uuid(), now(), now() - interval '3 days'
          FROM generate_series(1, 250) AS n
        """,
    )
    # Each transaction's rows carry its own id here.
    as_administrator(
        database,
        """
        CREATE TABLE deletion (transaction xid8);
        GRANT INSERT ON deletion TO PUBLIC;
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO deletion VALUES (pg_current_xact_id()); RETURN old; END $$;
        CREATE TRIGGER note BEFORE DELETE ON idempotency FOR EACH ROW EXECUTE FUNCTION note();
        """,
    )
    _, lines = run_round(database)
    assert "idempotency: 250 keys older than 48 hours deleted" in lines
    sizes = as_administrator(database, "SELECT count(*)::int FROM deletion GROUP BY transaction ORDER BY 1 DESC")
    assert sizes == [(100,), (100,), (50,)]
