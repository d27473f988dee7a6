"""Maintenance beside writers, beside itself, and in the way of long transactions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg2
import pytest
from psycopg2 import errors

from device_registration_api.maintenance.connect import connect
from tests.maintenance.rounds import (
    as_administrator,
    as_writer,
    create_partition,
    follow,
    places,
    record,
    run_round,
    settings,
    verify,
)

if TYPE_CHECKING:
    from tests.servers import MigratedDatabase

OLD = datetime(2024, 1, 10, tzinfo=UTC)
THIS_WEEK = datetime.now(UTC).date() - timedelta(days=datetime.now(UTC).weekday())


class Writers:
    """Two logins that record into the current week as fast as they can, and remember every failure."""

    def __init__(self, database: MigratedDatabase) -> None:
        self.recorded = 0
        self.failures: list[Exception] = []
        self._database = database
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(2)]

    def _write(self) -> None:
        while not self._stop.is_set():
            try:
                record(self._database, datetime.now(UTC))
            except psycopg2.Error as error:
                self.failures.append(error)
            else:
                with self._lock:
                    self.recorded += 1

    def wait_for(self, more: int) -> None:
        target, deadline = self.recorded + more, time.monotonic() + 20
        while self.recorded < target and not self.failures:
            assert time.monotonic() < deadline, "the writers stand still"
            time.sleep(0.005)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            self.wait_for(5)
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()


def without_this_week(database: MigratedDatabase) -> None:
    """The state in which every event of now goes to the default partition."""
    as_administrator(database, f"DROP TABLE auth_event_{THIS_WEEK:%Y%m%d}")


def test_writers_of_the_default_partition_are_never_failed_while_their_week_is_made(
    database: MigratedDatabase,
) -> None:
    writers = Writers(database)
    without_this_week(database)
    with writers.at_work():
        for _ in range(8):
            ok, _ = run_round(database)
            assert ok
            writers.wait_for(5)
            # And back again, so that the moment of the change is met many times.
            as_administrator(
                database,
                f"ALTER TABLE auth_event DETACH PARTITION auth_event_{THIS_WEEK:%Y%m%d}; "
                f"INSERT INTO auth_event_default TABLE auth_event_{THIS_WEEK:%Y%m%d}; "
                f"DROP TABLE auth_event_{THIS_WEEK:%Y%m%d}",
            )
            writers.wait_for(5)
        run_round(database)
    assert writers.failures == []
    assert places(database) == {f"auth_event_{THIS_WEEK:%Y%m%d}": writers.recorded}
    assert not verify(database).drifts


def test_writers_are_never_failed_while_old_weeks_are_retired(database: MigratedDatabase) -> None:
    weeks = [date(2024, 1, 8) + timedelta(days=7 * n) for n in range(8)]
    for week in weeks:
        create_partition(database, week)
        record(database, datetime(week.year, week.month, week.day, 12, tzinfo=UTC))
    writers = Writers(database)
    with writers.at_work():
        ok, lines = run_round(database)
        assert ok
        writers.wait_for(5)
    assert sum("dropped" in line for line in lines) == len(weeks)
    assert writers.failures == []
    verdict = verify(database)
    assert not verdict.drifts
    total = writers.recorded + len(weeks)
    assert [each.by_source for each in verdict.counts] == [
        {"facts": writers.recorded, "retired": len(weeks), "total": total, "quarter_hour": total}
    ]


def test_a_writer_gets_through_while_maintenance_waits_for_a_long_transaction(database: MigratedDatabase) -> None:
    """The lock that is waited for makes others queue behind it: briefly, or an insert would fail."""
    without_this_week(database)
    record(database, datetime.now(UTC))
    outcome: list[tuple[bool, list[str]]] = []
    waiting = threading.Thread(target=lambda: outcome.append(run_round(database)))
    with closing(psycopg2.connect(database.admin_url)) as long, long.cursor() as cur:
        cur.execute("SELECT count(*) FROM auth_event")  # and stays open
        waiting.start()
        time.sleep(0.3)
        for _ in range(5):
            record(database, datetime.now(UTC))
        assert waiting.is_alive()
        long.rollback()
        waiting.join()
    assert outcome[0][0], outcome
    assert places(database) == {f"auth_event_{THIS_WEEK:%Y%m%d}": 6}


def test_a_transaction_that_never_ends_is_an_alarm_and_the_other_steps_are_done(database: MigratedDatabase) -> None:
    # The patience of 30 seconds, cut to one attempt.
    [(definition,)] = as_administrator(database, "SELECT pg_get_functiondef('maintenance.lock_with_retry'::regproc)")
    as_administrator(database, str(definition).replace("1..100", "1..1").replace("%", "%%"))
    without_this_week(database)
    record(database, datetime.now(UTC))
    create_partition(database, date(2024, 1, 8))
    with closing(psycopg2.connect(database.admin_url)) as long, long.cursor() as cur:
        cur.execute("SELECT count(*) FROM auth_event")
        ok, lines = run_round(database)
    assert not ok
    lines_of = [line.split(":")[0] for line in lines]
    assert lines_of == [
        "partitions of api_request",
        *["partitions of auth_event"] * 3,
        "partitions of measurement",
        "partitions of store_event",
        "presences of auth_event",
        "retention of api_request",
        "retention of auth_event",
        "retention of measurement",
        "retention of store_event",
        "minutes of api_request",
        "minutes of auth_event",
        "idempotency",
        "webhooks",
        "deleted devices",
        "deleted projects",
    ]
    assert "a long transaction is in the way" in lines[1]
    assert "ALARM" in lines[lines_of.index("retention of auth_event")]
    assert run_round(database)[0]


def test_a_deadlock_of_maintenance_is_repeated_until_the_other_gives_up(database: MigratedDatabase) -> None:
    with (
        closing(psycopg2.connect(database.admin_url, options="-c deadlock_timeout=10ms")) as maintenance,
        closing(psycopg2.connect(database.admin_url, options="-c lock_timeout=500 -c deadlock_timeout=10s")) as writer,
        maintenance.cursor() as cur,
        writer.cursor() as writing,
    ):
        writing.execute("LOCK TABLE auth_event_total")
        cur.execute("LOCK TABLE auth_event_minute")

        def wait_and_give_up() -> None:
            with pytest.raises(errors.LockNotAvailable):
                writing.execute("LOCK TABLE auth_event_minute")
            writer.rollback()

        waiting = threading.Thread(target=wait_and_give_up)
        waiting.start()
        cur.execute("SELECT maintenance.lock_with_retry('LOCK TABLE public.auth_event_total')")
        waiting.join()


def test_the_second_of_two_maintains_says_so_and_is_content(database: MigratedDatabase) -> None:
    create_partition(database, OLD.date() - timedelta(days=2))
    record(database, OLD)
    with closing(connect(settings(database), statement_seconds_max=5)) as first, first.cursor() as cur:
        cur.execute("SELECT pg_try_advisory_lock(7302002)")
        ok, lines = run_round(database)
        assert (ok, lines) == (True, ["another maintain is at work in this database; nothing to do"])
        assert places(database) == {"auth_event_20240108": 1}
    assert "auth_event_20240108" not in (run_round(database), places(database))[1]


def test_many_maintains_at_once_retire_each_week_once(database: MigratedDatabase) -> None:
    weeks = [date(2024, 1, 8) + timedelta(days=7 * n) for n in range(4)]
    for week in weeks:
        create_partition(database, week)
        record(database, datetime(week.year, week.month, week.day, tzinfo=UTC))
    without_this_week(database)
    record(database, datetime.now(UTC))
    outcomes: list[tuple[bool, list[str]]] = []
    threads = [threading.Thread(target=lambda: outcomes.append(run_round(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ok for ok, _ in outcomes] == [True] * 4
    assert as_writer(database, "SELECT event_count::int FROM auth_event_retired") == [(4,)]
    assert not verify(database).drifts


@pytest.mark.parametrize("function", ["create_partition", "retire_partition"])
def test_the_functions_are_safe_even_without_the_command(database: MigratedDatabase, function: str) -> None:
    week = date(2024, 1, 8)
    if function == "retire_partition":
        create_partition(database, week)
    record(database, OLD)
    follow(database)
    answers: list[list[tuple[object, ...]]] = []
    call = f"SELECT maintenance.{function}('auth_event', %(week)s)::int"
    threads = [threading.Thread(target=lambda: answers.append(as_writer(database, call, week=week))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [[(1,)], [(None,)], [(None,)], [(None,)]]


def test_counts_are_verified_without_a_false_drift_while_weeks_are_retired(database: MigratedDatabase) -> None:
    weeks = [date(2024, 1, 8) + timedelta(days=7 * n) for n in range(30)]
    for week in weeks:
        create_partition(database, week)
        record(database, datetime(week.year, week.month, week.day, tzinfo=UTC))
    retiring = threading.Thread(target=lambda: run_round(database))
    retiring.start()
    verdicts = []
    while retiring.is_alive():
        verdicts.append(verify(database))
    assert [each.drifts for each in verdicts] == [[]] * len(verdicts)
    assert len({each.counts[0].by_source["retired"] for each in verdicts}) > 1, "nothing was retired in the meantime"
