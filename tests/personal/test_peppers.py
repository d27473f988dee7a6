"""The pepper of a day: one for all processes, forgotten after 48 hours, and never in the way of an event."""

from __future__ import annotations

import asyncio
import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest

from device_registration_api.api_requests.addresses import hash_of
from device_registration_api.personal import peppers
from device_registration_api.personal.peppers import DailyPeppers
from device_registration_api.personal.upkeep import keep_up
from servicekit.database.pool import Database
from servicekit.process import clock
from tests.personal.conftest import Apart

STORED = "SELECT secret FROM daily_pepper ORDER BY day"
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def pool(apart: Apart, dsn: str | None = None) -> Database:
    made = Database(dsn or apart.dsn("keyring"), connections_max=2, wait_seconds_max=5.0)
    apart.pools.append(made)
    return made


def set_clock(monkeypatch: pytest.MonkeyPatch, at: datetime) -> None:
    monkeypatch.setattr(clock, "_read", at.timestamp)


async def test_all_processes_have_one_pepper_a_day(apart: Apart) -> None:
    several = [DailyPeppers(pool(apart)) for _ in range(4)]
    found = await asyncio.gather(*(each.of_today() for each in several for _ in range(3)))
    assert len(set(found)) == 1
    assert found[0] is not None
    assert len(found[0]) == 32
    assert [bytes(secret) for (secret,) in apart.rows("keyring", STORED)] == [found[0]]
    # Each has asked for today, and keeps no connection until tomorrow.
    kept = "SELECT count(*)::int FROM pg_stat_activity WHERE datname LIKE '%_keyring' AND application_name = 'test'"
    for _ in range(100):  # the server notices a little later
        if apart.rows("keyring", kept) == [(0,)]:
            break
        await asyncio.sleep(0.1)
    assert apart.rows("keyring", kept) == [(0,)]


async def test_a_pepper_is_read_once_a_day(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = DailyPeppers(pool(apart))
    set_clock(monkeypatch, NOON)
    first = await asked.of_today()
    apart.rows("keyring", "DELETE FROM daily_pepper")
    assert await asked.of_today() == first
    set_clock(monkeypatch, NOON + timedelta(days=1))
    assert await asked.of_today() not in (first, None)


async def test_after_48_hours_no_one_can_recompute_a_hash(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, NOON)
    today = await DailyPeppers(pool(apart)).of_today()
    assert today is not None
    stored = hash_of("192.0.2.7", 1, today)

    def recomputed(now: datetime) -> bool:
        """What an attacker with every secret of the keyring finds, who knows the address."""
        with (
            closing(psycopg2.connect(apart.dsn("personal"))) as personal,
            closing(psycopg2.connect(apart.dsn("keyring"))) as keyring,
        ):
            keep_up(personal, keyring, 1, now, lambda _: None)
        return stored in [hash_of("192.0.2.7", 1, bytes(secret)) for (secret,) in apart.rows("keyring", STORED)]

    assert recomputed(NOON + timedelta(hours=35))
    assert not recomputed(NOON + timedelta(hours=36, minutes=1))  # its day began 48 hours ago


async def test_who_makes_a_pepper_deletes_the_old_ones(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where `maintain` does not run."""
    for number in range(5):
        set_clock(monkeypatch, NOON + timedelta(days=number))
        assert await DailyPeppers(pool(apart)).of_today() is not None
    assert len(apart.rows("keyring", STORED)) == 2


async def test_without_a_keyring_there_is_none() -> None:
    assert await DailyPeppers(None).of_today() is None


async def test_a_keyring_that_is_away_costs_one_wait_and_one_line(
    apart: Apart, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    asked = DailyPeppers(pool(apart, apart.dsn("nothing")))
    assert await asyncio.gather(*(asked.of_today() for _ in range(5))) == [None] * 5
    monkeypatch.setattr(asked, "_database", pool(apart))
    assert await asked.of_today() is None  # remembered for a while
    monkeypatch.setattr(asked, "_paused_until", 0.0)
    assert await asked.of_today() is not None
    said = [record.message for record in caplog.records if record.name == peppers.__name__]
    assert len(said) == 2
    assert said[0].startswith("the keyring cannot be used")
    assert said[1].startswith("the keyring can be used again")
