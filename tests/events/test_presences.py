"""Distinct numbers, from two writers at once with late and repeated days, against count(DISTINCT) over the facts."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils import uuid7

from contract.api_requests.columns import ApiRequestColumns
from device_registration_api.api_requests.commands import new_table
from device_registration_api.events import idempotency
from device_registration_api.events.local_days import LocalDays
from device_registration_api.events.presences import Presences
from device_registration_api.events.recording import record, record_carefully
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from statistics_api.api_requests.covers import Part, Period
from statistics_api.api_requests.kept import Kept
from statistics_api.api_requests.queries import whole
from tests.database import dsn_of
from tests.maintenance.rounds import as_administrator, verify
from tests.servers import Cluster, MigratedDatabase

LAST = datetime(2026, 11, 29, 12, tzinfo=UTC)
ZONES = ("UTC", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Kiritimati")
PRESENT = st.tuples(st.integers(0, 4), st.integers(0, 12 * 24))
STEPS = st.lists(st.tuples(st.booleans(), st.lists(PRESENT, min_size=1, max_size=6)), max_size=5)

NEW_PROJECT = "INSERT INTO project (name, project_key, timezone) VALUES ('p', %(key)s, %(zone)s) RETURNING project_id"
NEW = """
    SELECT coalesce(sum(present_count), 0)::int FROM stats.api_request_distinct
     WHERE project_id = %(project_id)s AND segment = 0 AND day >= %(first)s AND day < %(end)s
       AND previous_day = '-infinity'
"""
EXPECTED = """
    WITH seen AS (SELECT DISTINCT consumer, (occurred_at AT TIME ZONE %(zone)s)::date AS day
                    FROM api_request WHERE project_id = %(project_id)s AND consumer IS NOT NULL)
    SELECT count(DISTINCT consumer)::int,
           (count(DISTINCT consumer) - count(DISTINCT consumer) FILTER (
                WHERE consumer IN (SELECT consumer FROM seen WHERE day < %(first)s)))::int
      FROM seen WHERE day >= %(first)s AND day < %(end)s
"""


class Writer:
    """One process's table and connections, in a slot of its own."""

    def __init__(self, database: MigratedDatabase, slot: int, presences: Presences | None = None) -> None:
        self.table: EventTable[ApiRequestColumns] = new_table(presences)
        self.slot = slot
        self.database = Database(
            dsn_of(database.writer_env),
            connections_max=2,
            wait_seconds_max=5.0,
            prepare=[*idempotency.PREPARED, *self.table.prepared()],
        )

    def write(self, project_id: int, steps: Sequence[tuple[bool, Sequence[tuple[str | None, datetime]]]]) -> None:
        """Record each step in a transaction: in the exact way, or first in the fast one."""
        for carefully, events in steps:
            self.write_rows(rows_of(project_id, events), carefully=carefully)

    def write_rows(self, rows: Rows[ApiRequestColumns], *, carefully: bool = False) -> None:
        """Record rows in one transaction."""
        attempts = [partial(way, table=self.table, rows=rows, slot=self.slot) for way in (record, record_carefully)]
        repeat_until_known(Lease(self.database), attempts[carefully], attempts[1])


class World(NamedTuple):
    database: MigratedDatabase
    writers: list[Writer]

    def new_project(self, zone: str) -> int:
        [(project_id,)] = as_administrator(self.database, NEW_PROJECT, key=f"p-{uuid7()}", zone=zone)
        return int(project_id)


@pytest.fixture(scope="module")
def world(cluster: Cluster, template: str) -> Iterator[World]:
    with cluster.new_database(template) as name:
        database = MigratedDatabase(cluster.admin_url(name))
        world = World(database, [Writer(database, slot) for slot in range(2)])
        yield world
        for writer in world.writers:
            writer.database.close()


def rows_of(project_id: int, events: Sequence[tuple[str | None, datetime]]) -> Rows[ApiRequestColumns]:
    count = len(events)
    return Rows(
        [project_id] * count,
        [LAST] * count,
        [str(uuid7()) for _ in events],
        ApiRequestColumns(
            url_paths=["/"] * count,
            methods=["GET"] * count,
            status_codes=[200] * count,
            response_us=[1] * count,
            user_agents=[None] * count,
            consumers=[consumer for consumer, _ in events],
        ),
        {position: at for position, (_, at) in enumerate(events)},
        {},
    )


class Distinct(NamedTuple):
    """The number of different consumers, and of those among them who were never seen before."""

    total: int
    new: int


def distinct(database: MigratedDatabase, project_id: int, first: date, end: date) -> Distinct:
    """What the summary says of the days from `first` until before `end`, and what its view knows beside."""
    env = database.reader_env
    start = datetime.combine(first, time(), UTC)
    reader = Database(dsn_of(env), connections_max=1, wait_seconds_max=5.0, read_only=True)
    try:
        days = (first, end - timedelta(days=1))
        found = whole(Lease(reader), Kept(0), project_id, [Part(Period.DAY, start, start)], days, exact=False)
    finally:
        reader.close()
    [(new,)] = as_administrator(database, NEW, project_id=project_id, first=first, end=end)
    return Distinct(found.consumers, new)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ZONES), st.tuples(STEPS, STEPS), st.integers(0, 12), st.integers(1, 13))
def test_any_range_has_the_exact_number_whatever_the_order(
    world: World,
    zone: str,
    work: tuple[list[tuple[bool, list[tuple[int, int]]]], list[tuple[bool, list[tuple[int, int]]]]],
    skipped: int,
    length: int,
) -> None:
    project_id = world.new_project(zone)
    with ThreadPoolExecutor(2) as pool:
        running = [
            pool.submit(
                writer.write,
                project_id,
                [
                    (
                        carefully,
                        [(f"c-{who}" if who else None, LAST - timedelta(hours=hours)) for who, hours in events],
                    )
                    for carefully, events in steps
                ],
            )
            for writer, steps in zip(world.writers, work, strict=True)
        ]
        for each in running:
            each.result()
    for first in {date(2026, 11, 16) + timedelta(days=skipped), date(2026, 11, 1)}:
        end = first + timedelta(days=length)
        [expected] = as_administrator(world.database, EXPECTED, project_id=project_id, zone=zone, first=first, end=end)
        assert distinct(world.database, project_id, first, end) == expected
    assert verify(world.database).drifts == []


def test_new_days_of_one_consumer_in_both_writers_at_once(world: World) -> None:
    """The moment that the locks are for: neither sees the other's day before its own."""
    project_id = world.new_project("UTC")
    days = [LAST - timedelta(days=number) for number in range(28)]
    with ThreadPoolExecutor(2) as pool:
        for work in [
            pool.submit(writer.write, project_id, [(False, [("one", day)]) for day in order])
            for writer, order in zip(world.writers, (days[::2], days[::-1][::2]), strict=True)
        ]:
            work.result()
    assert distinct(world.database, project_id, date(2026, 11, 2), date(2026, 11, 30)) == (1, 1)
    assert distinct(world.database, project_id, date(2026, 11, 20), date(2026, 11, 21)) == (1, 0)
    assert verify(world.database).drifts == []


def test_a_new_time_zone_counts_from_then_on(world: World) -> None:
    project_id = world.new_project("UTC")
    evening = datetime(2026, 11, 20, 22, tzinfo=UTC)
    world.writers[0].write(project_id, [(False, [("a", evening)])])
    as_administrator(
        world.database, "UPDATE project SET timezone = 'Asia/Tokyo' WHERE project_id = %(id)s", id=project_id
    )
    # This process has not read the project's settings before.
    world.writers[1].write(project_id, [(False, [("b", evening)])])
    assert distinct(world.database, project_id, date(2026, 11, 20), date(2026, 11, 21)) == (1, 1)
    assert distinct(world.database, project_id, date(2026, 11, 21), date(2026, 11, 22)) == (1, 1)
    assert verify(world.database).drifts == []


def test_a_zone_that_this_process_does_not_know_loses_no_event(world: World) -> None:
    project_id = world.new_project("Mars/Olympus")
    world.writers[0].write(project_id, [(False, [("a", LAST)])])
    assert distinct(world.database, project_id, LAST.date(), LAST.date() + timedelta(days=1)) == (1, 1)


def test_a_project_that_is_being_deleted_has_no_drift(world: World) -> None:
    """Its rows leave table by table."""
    project_id = world.new_project("UTC")
    world.writers[0].write(project_id, [(False, [("a", LAST)])])
    deleting = """
        UPDATE project SET deleted_at = now() WHERE project_id = %(id)s;
        DELETE FROM api_request_distinct WHERE project_id = %(id)s
    """
    as_administrator(world.database, deleting, id=project_id)
    assert verify(world.database).drifts == []
    as_administrator(world.database, "DELETE FROM api_request_presence WHERE project_id = %(id)s", id=project_id)
    assert verify(world.database).drifts == []


def test_segments_are_counted_apart(world: World) -> None:
    """As a kind declares them whose different ones are asked for by a part of its events, too."""
    by_class = Presences("api_request", "consumers", lambda columns: [each // 100 for each in columns.status_codes])
    writer = Writer(world.database, 2, by_class)
    project_id = world.new_project("UTC")
    for days, status, who in ((3, 200, "a"), (1, 500, "a"), (0, 200, "a"), (0, 200, "b"), (2, 500, "a")):
        rows = rows_of(project_id, [(who, LAST - timedelta(days=days)), (None, LAST)])
        rows.columns.status_codes[0] = status
        writer.write_rows(rows)
    writer.database.close()
    stored = """
        SELECT segment, sum(present_count)::int FROM api_request_distinct
         WHERE project_id = %(project_id)s AND day >= '2026-11-27' AND previous_day < '2026-11-27'
         GROUP BY 1 ORDER BY 1
    """
    assert as_administrator(world.database, stored, project_id=project_id) == [(0, 2), (2, 2), (5, 1)]
    assert verify(world.database).drifts == []


@pytest.mark.parametrize(
    ("tampering", "drift"),
    [
        ("UPDATE api_request_presence SET day = day - 9, previous_day = '-infinity'", "were present on no day"),
        ("UPDATE api_request_presence SET previous_day = day - 1", "presences have another previous day"),
        ("UPDATE api_request_distinct SET present_count = present_count + 1", "counted, 1 presences (+1)"),
        ("DELETE FROM api_request_distinct", "0 counted, 1 presences (-1)"),
        ("DELETE FROM api_request_presence", "were present on no day"),
    ],
)
def test_each_kind_of_drift_is_named(cluster: Cluster, template: str, tampering: str, drift: str) -> None:
    with cluster.new_database(template) as name:
        database = MigratedDatabase(cluster.admin_url(name))
        writer = Writer(database, 0)
        writer.write(1, [(False, [("a", LAST)])])
        writer.database.close()
        assert verify(database).drifts == []
        as_administrator(database, tampering)
        found = verify(database).drifts
    assert any(each.startswith("api_request, project 1") and drift in each for each in found), found


@given(st.sampled_from([*ZONES, "Australia/Lord_Howe", "America/Havana"]), st.integers(1_577_836_800, 1_800_000_000))
def test_a_local_day_is_that_of_the_zone(zone: str, second: int) -> None:
    at = datetime.fromtimestamp(second, UTC)
    days = LocalDays(ZoneInfo(zone))
    for each in (at, at + timedelta(hours=20), at - timedelta(hours=3)):
        assert days.day_of(each) == each.astimezone(ZoneInfo(zone)).date()
