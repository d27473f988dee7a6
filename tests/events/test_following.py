"""Users of auth events, whom a follower counts after the events, against count(DISTINCT) over the facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import NamedTuple
from zoneinfo import ZoneInfo

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2 import errors
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import DeviceType
from device_registration_api.auth_events.commands import AUTH_EVENTS, FOLLOWER
from device_registration_api.events import following, idempotency
from device_registration_api.events.following import FACTS_MAX, Follower
from device_registration_api.events.recording import record, record_carefully
from device_registration_api.events.rows import Rows
from device_registration_api.followers import FOLLOWERS
from device_registration_api.maintenance.partitions import WEEK, week_of
from device_registration_api.maintenance.wrong_events import WrongEvents, delete_wrong_events
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from statistics_api.auth_events.queries import users
from statistics_api.time_series.users import Days
from tests.citus_nodes import forget_commits
from tests.database import dsn_of
from tests.maintenance.rounds import as_administrator, as_writer, create_partition, run_round, verify
from tests.servers import Cluster, MigratedDatabase

LAST = datetime(2026, 11, 29, 12, tzinfo=UTC)
TYPES = tuple(DeviceType)
ZONES = ("UTC", "Asia/Kathmandu", "America/Los_Angeles", "Pacific/Kiritimati")
Event = tuple[int, DeviceType, int]
# Who, with which device, how many hours before LAST.
EVENT = st.tuples(st.integers(1, 4), st.sampled_from(TYPES), st.integers(0, 12 * 24))
# Transactions of one writer; after each, the follower may come by.
STEPS = st.lists(st.tuples(st.booleans(), st.lists(EVENT, min_size=1, max_size=6)), max_size=5)

NEW_PROJECT = "INSERT INTO project (name, project_key, timezone) VALUES ('p', %(key)s, %(zone)s) RETURNING project_id"
EXPECTED = """
    WITH seen AS (SELECT DISTINCT user_key, (occurred_at AT TIME ZONE %(zone)s)::date AS day
                    FROM auth_event
                   WHERE project_id = %(project_id)s
                     AND (%(type)s::device_type IS NULL OR device_type = %(type)s::device_type))
    SELECT count(DISTINCT user_key)::int,
           (count(DISTINCT user_key) - count(DISTINCT user_key) FILTER (
                WHERE user_key IN (SELECT user_key FROM seen WHERE day < %(first)s)))::int
      FROM seen WHERE day BETWEEN %(first)s AND %(last)s
"""
INSERT = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    VALUES (%(project_id)s, %(at)s, gen_random_uuid(), %(at)s, 'iOS', %(who)s)
"""
PRESENT = "SELECT count(DISTINCT digest)::int FROM auth_event_presence WHERE project_id = %(project_id)s"
ELSEWHERE = "UPDATE maintenance.follower SET system_identifier = 1, followed_xid = 4000000000"


class World(NamedTuple):
    database: MigratedDatabase
    writers: Sequence[Database]
    reader: Database

    def new_project(self, zone: str = "UTC") -> int:
        [(project_id,)] = as_administrator(self.database, NEW_PROJECT, key=f"p-{uuid7()}", zone=zone)
        return int(project_id)

    def connect(self) -> Connection:
        return psycopg2.connect(dsn_of(self.database.writer_env))

    def follow(self, follower: Follower = FOLLOWER) -> bool:
        forget_commits(self.database.admin_url)
        with closing(self.connect()) as conn:
            return follower.follow_some(conn)

    def write(self, slot: int, project_id: int, events: Sequence[Event]) -> None:
        """Record events in one transaction."""
        rows = Rows(
            [project_id] * len(events),
            [LAST] * len(events),
            [str(uuid7()) for _ in events],
            AuthEventColumns(
                user_keys=[f"u-{who}" for who, _, _ in events], device_types=[type_ for _, type_, _ in events]
            ),
            {at: LAST - timedelta(hours=hours) for at, (_, _, hours) in enumerate(events)},
            {},
        )
        first, second = (partial(way, table=AUTH_EVENTS, rows=rows, slot=slot) for way in (record, record_carefully))
        repeat_until_known(Lease(self.writers[slot]), first, second)

    def insert(self, conn: Connection, project_id: int, who: str, at: datetime = LAST) -> None:
        with conn.cursor() as cursor:
            cursor.execute(INSERT, {"project_id": project_id, "who": who, "at": at})

    def answer(
        self, project_id: int, first: date, last: date, zone: str = "UTC", type_: DeviceType | None = None
    ) -> tuple[int, int]:
        return users(Lease(self.reader), project_id, type_, Days(first, last, ZoneInfo(zone)))

    def expected(
        self, project_id: int, first: date, last: date, zone: str, type_: DeviceType | None
    ) -> tuple[int, int]:
        parameters = {"project_id": project_id, "first": first, "last": last, "zone": zone, "type": type_}
        [(distinct, new)] = as_administrator(self.database, EXPECTED, **parameters)
        return distinct, new

    def drifts(self) -> list[str]:
        """What the check of the counts says of presences. The facts of these tests are in no other count."""
        return [each for each in verify(self.database).drifts if "facts + retired" not in each]

    def today(self, project_id: int) -> tuple[int, int]:
        return self.answer(project_id, LAST.date(), LAST.date())


def world_of(cluster: Cluster, template: str, undo: ExitStack) -> World:
    database = MigratedDatabase(cluster.admin_url(undo.enter_context(cluster.new_database(template))))
    prepare = [*idempotency.PREPARED, *AUTH_EVENTS.prepared()]
    writers = [
        Database(dsn_of(database.writer_env), connections_max=2, wait_seconds_max=5.0, prepare=prepare)
        for _ in range(2)
    ]
    reader = Database(dsn_of(database.reader_env), connections_max=1, wait_seconds_max=5.0, read_only=True)
    for each in (*writers, reader):
        undo.callback(each.close)
    return World(database, writers, reader)


@pytest.fixture(scope="module")
def world(cluster: Cluster, template: str) -> Iterator[World]:
    with ExitStack() as undo:
        yield world_of(cluster, template, undo)


@pytest.fixture
def lone(cluster: Cluster, template: str) -> Iterator[World]:
    """A database of its own, for one test that changes the facts of all projects."""
    with ExitStack() as undo:
        yield world_of(cluster, template, undo)


def test_the_followers_are_those_of_the_catalogue(world: World) -> None:
    following = "SELECT fact FROM maintenance.fact_table WHERE presence_follows"
    positions = "SELECT fact FROM maintenance.follower"
    assert {fact for (fact,) in as_administrator(world.database, following)} == set(FOLLOWERS)
    assert {fact for (fact,) in as_administrator(world.database, positions)} == set(FOLLOWERS)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)), max_size=6))
def test_it_arrives_however_facts_and_other_transactions_follow_each_other(
    world: World, work: Sequence[tuple[int, int]]
) -> None:
    follower = FOLLOWERS["auth_event"]
    with pytest.MonkeyPatch.context() as patched, closing(world.connect()) as conn, closing(world.connect()) as other:
        patched.setattr(following, "FACTS_MAX", 5)
        patched.setattr(follower, "_transactions", 1_000)
        project_id = world.new_project()
        for number, (others, facts) in enumerate(work):
            for _ in range(others):
                with other, other.cursor() as cursor:
                    cursor.execute("SELECT pg_current_xact_id()")
            world.write(0, project_id, [(who, TYPES[0], number) for who in range(facts)])
        forget_commits(world.database.admin_url)
        follower.catch_up(conn)
    expected = max((facts for _, facts in work), default=0)
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(expected,)]


def test_every_device_type_has_a_segment_of_its_own(world: World) -> None:
    segments = "SELECT auth_event_segment(each) FROM unnest(enum_range(NULL::device_type)) AS each"
    assert as_writer(world.database, segments) == [(1,), (2,), (3,), (4,)]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(ZONES), st.tuples(STEPS, STEPS), st.integers(0, 12), st.integers(0, 12))
def test_any_range_has_the_exact_number_wherever_the_follower_is(
    world: World, zone: str, work: Sequence[list[tuple[bool, list[Event]]]], skipped: int, length: int
) -> None:
    project_id = world.new_project(zone)

    def run(slot: int) -> None:
        for is_followed, events in work[slot]:
            world.write(slot, project_id, events)
            if is_followed:
                world.follow()

    def compare() -> None:
        for first in {date(2026, 11, 16) + timedelta(days=skipped), date(2026, 11, 1)}:
            last = first + timedelta(days=length)
            for type_ in (None, DeviceType.IOS):
                found = world.answer(project_id, first, last, zone, type_)
                assert found == world.expected(project_id, first, last, zone, type_)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    compare()
    assert not world.follow()
    compare()


def test_a_fact_that_is_committed_late_is_followed_later(world: World) -> None:
    """Its transaction is older than facts that are there already: the follower stops before it."""
    project_id = world.new_project()
    with closing(world.connect()) as late, closing(world.connect()) as early:
        world.insert(late, project_id, "late")
        world.insert(early, project_id, "early")
        early.commit()
        world.follow()
        assert world.today(project_id) == (1, 1)
        late.commit()
    assert world.today(project_id) == (2, 2)
    assert not world.follow()
    assert world.today(project_id) == (2, 2)
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(2,)]
    assert world.drifts() == []


def test_a_fact_that_is_rolled_back_counts_nothing(world: World) -> None:
    project_id = world.new_project()
    with closing(world.connect()) as conn:
        world.insert(conn, project_id, "nobody")
        conn.rollback()
    world.follow()
    assert world.today(project_id) == (0, 0)


def test_one_follower_at_a_time(world: World) -> None:
    project_id = world.new_project()
    world.write(0, project_id, [(1, DeviceType.IOS, 0)])
    with closing(world.connect()) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM maintenance.follower FOR UPDATE")
        assert not world.follow()
        assert as_administrator(world.database, PRESENT, project_id=project_id) == [(0,)]
    assert not world.follow()
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(1,)]


def test_a_crash_between_two_steps_loses_nothing(world: World) -> None:
    """Presences and position are of one transaction: what is rolled back is followed again."""
    project_id = world.new_project()
    world.write(0, project_id, [(1, DeviceType.IOS, 0)])
    breaking = "ALTER TABLE maintenance.follower ADD CONSTRAINT broken CHECK (followed_xid < 0) NOT VALID"
    as_administrator(world.database, breaking)
    with pytest.raises(errors.CheckViolation):
        world.follow()
    as_administrator(world.database, "ALTER TABLE maintenance.follower DROP CONSTRAINT broken")
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(0,)]
    assert world.today(project_id) == (1, 1)
    assert not world.follow()
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(1,)]
    assert world.drifts() == []


def test_a_long_way_is_gone_in_steps(lone: World) -> None:
    """No transaction follows more than FACTS_MAX facts if a smaller number of transactions can be taken."""
    project_id = lone.new_project()
    many = """
        INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
        SELECT %(project_id)s, %(at)s, gen_random_uuid(), %(at)s, 'TV', 'u-' || n FROM generate_series(1, %(count)s) n
    """
    assert not lone.follow()
    for _ in range(3):
        as_administrator(lone.database, many, project_id=project_id, at=LAST, count=FACTS_MAX * 3 // 4)
    follower = Follower("auth_event", who="user_key", segment="auth_event_segment(f.device_type)")
    steps = 1
    while lone.follow(follower):
        assert lone.today(project_id) == (FACTS_MAX * 3 // 4,) * 2
        steps += 1
    assert steps >= 3
    assert as_administrator(lone.database, PRESENT, project_id=project_id) == [(FACTS_MAX * 3 // 4,)]


def test_after_a_restore_into_another_cluster_everything_is_followed_again(lone: World) -> None:
    """Ids of transactions begin anew there: the restored position is far ahead of new facts."""
    project_id = lone.new_project()
    yesterday = LAST - timedelta(days=1)
    lone.write(0, project_id, [(1, DeviceType.IOS, 24)])
    assert not lone.follow()
    lone.write(0, project_id, [(2, DeviceType.IOS, 24)])
    as_administrator(lone.database, "UPDATE auth_event SET commit_xid = commit_xid + 3000000000")
    as_administrator(lone.database, ELSEWHERE)
    lone.write(0, project_id, [(3, DeviceType.IOS, 0), (1, DeviceType.IOS, 0)])
    expected = ((2, 2), (2, 1))

    def answers() -> tuple[tuple[int, int], tuple[int, int]]:
        return lone.answer(project_id, yesterday.date(), yesterday.date()), lone.today(project_id)

    assert answers() == expected
    assert run_round(lone.database)[0]
    assert answers() == expected
    assert as_administrator(lone.database, PRESENT, project_id=project_id) == [(3,)]
    lone.write(1, project_id, [(4, DeviceType.IOS, 0)])
    assert lone.today(project_id) == (3, 2)
    assert not lone.follow()
    assert lone.today(project_id) == (3, 2)
    assert lone.drifts() == []


def test_no_number_of_users_moves_when_a_week_is_retired(lone: World) -> None:
    old = datetime.now(UTC) - timedelta(days=40)
    week = week_of(old)
    create_partition(lone.database, week)
    with closing(lone.connect()) as conn:
        for who in ("a", "b"):
            lone.insert(conn, 1, who, old)
        conn.commit()
    days = (old - timedelta(days=9)).date(), (old + timedelta(days=9)).date()
    retire = "SELECT maintenance.retire_partition('auth_event', %(week)s)"
    with pytest.raises(errors.LockNotAvailable, match="follower"):
        as_writer(lone.database, retire, week=week)
    assert lone.answer(1, *days) == (2, 2)

    forget_commits(lone.database.admin_url)
    assert run_round(lone.database, retention_days=14)[0]

    assert as_administrator(lone.database, "SELECT count(*)::int FROM auth_event") == [(0,)]
    assert lone.answer(1, *days) == (2, 2)
    # "a" is known, although none of the events that say so is stored any more.
    with closing(lone.connect()) as conn:
        lone.insert(conn, 1, "a", old + WEEK)
        conn.commit()
    assert lone.answer(1, old.date() + WEEK, old.date() + WEEK) == (1, 0)
    assert lone.answer(1, *days) == (2, 2)


@pytest.mark.parametrize("is_followed", [True, False])
def test_old_rows_of_a_project_leave_behind_the_follower(lone: World, *, is_followed: bool) -> None:
    old = datetime.now(UTC) - timedelta(days=10)
    with closing(lone.connect()) as conn:
        lone.insert(conn, 1, "a", old)
        conn.commit()
    as_administrator(lone.database, "UPDATE project SET retention_days = 5 WHERE project_id = 1")
    if is_followed:
        lone.follow()
    retired = as_writer(lone.database, "SELECT maintenance.retire_rows('auth_event', 1, 100)::int")
    assert retired == [(int(is_followed),)]
    assert lone.answer(1, old.date(), old.date()) == (1, 1)


def test_wrong_events_stay_counted_as_users(lone: World) -> None:
    lone.write(0, 1, [(1, DeviceType.IOS, 0), (2, DeviceType.TV, 0)])
    forget_commits(lone.database.admin_url)
    with closing(lone.connect()) as conn:
        assert delete_wrong_events(conn, WrongEvents("auth_events", "default", "TV", None, None)) == 1
    assert lone.answer(1, LAST.date(), LAST.date()) == (2, 2)
    assert lone.drifts() == []


def test_the_facts_of_a_deleted_project_are_not_followed(world: World) -> None:
    project_id = world.new_project()
    world.write(0, project_id, [(1, DeviceType.IOS, 0)])
    as_administrator(world.database, "UPDATE project SET deleted_at = now() WHERE project_id = %(id)s", id=project_id)
    world.follow()
    assert as_administrator(world.database, PRESENT, project_id=project_id) == [(0,)]
    assert world.drifts() == []
