"""Whatever is committed when, and however often an export is killed: each row is exported once.

Two writers hold transactions open, commit and roll back them in any order, beside a reader that goes on from its last
checkpoint or, after a kill, from an earlier one. All of them are sessions of a real server.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.exports.pages import ExportedTable, Page, read_page, start
from device_registration_api.exports.position import Position, read_position
from servicekit.database import Connection
from tests.access.key_commands import connected
from tests.servers import MigratedDatabase

WRITERS = 2
# Two of one instant, so that the order within a transaction is that of ids, too.
INSERT = """
    INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    SELECT %(project)s, now() + number / 2 * interval '1 second', gen_random_uuid(), now(), 'TV', %(name)s || number
      FROM generate_series(1, %(rows)s) AS number RETURNING user_key
"""
IN_ORDER = """
    SELECT user_key FROM auth_event WHERE project_id = %(project)s ORDER BY commit_xid, received_at, event_id
"""
PROJECTS = count(1_000_000)

# What happens: who does it, and how much.
Step = tuple[str, int, int]
writers = st.integers(0, WRITERS - 1)
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), writers, st.integers(1, 9)),
        st.tuples(st.sampled_from(["commit", "roll back"]), writers, st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 6), st.integers(1, 2_000)),
        # It has read, and its client did not get all of it: so many rows less than a page.
        st.tuples(st.just("killed"), st.integers(1, 6), st.integers(0, 6)),
        st.tuples(st.just("unrelated"), st.just(0), st.integers(1, 40)),
    ),
    max_size=30,
)


@dataclass
class Client:
    """Keeps rows and the checkpoint behind them together, as whoever exports has to."""

    position: Position
    rows: list[str] = field(default_factory=list)

    def keep(self, page: Page) -> None:
        self.rows.extend(page.rows)
        # As it travels.
        self.position = read_position(page.position.text(), self.position.kind, self.position.project_id)


@dataclass
class World:
    reader: Connection
    sessions: Sequence[Connection]
    table: ExportedTable = field(default_factory=lambda: ExportedTable(AUTH_EVENTS))

    def begin(self, project: int) -> Client:
        return Client(start(lambda: self.reader, self.table, project))

    def page(self, client: Client, rows_max: int, bytes_max: int = 1_000_000) -> Page:
        return read_page(lambda: self.reader, self.table, client.position, rows_max=rows_max, bytes_max=bytes_max)


@pytest.fixture(scope="module")
def world(module_database: MigratedDatabase) -> Iterator[World]:
    with ExitStack() as undo:
        sessions = [undo.enter_context(closing(psycopg2.connect(module_database.admin_url))) for _ in range(WRITERS)]
        yield World(undo.enter_context(connected(module_database)), sessions)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_each_committed_row_is_exported_once(world: World, schedule: list[Step]) -> None:
    project, names = next(PROJECTS), count()
    client = world.begin(project)
    committed: list[str] = []
    written: list[list[str]] = [[] for _ in range(WRITERS)]
    try:
        for what, who, number in schedule:
            match what:
                case "insert":
                    named = {"project": project, "name": f"{next(names)}-", "rows": number}
                    written[who] += [name for (name,) in run(world.sessions[who], INSERT, named)]
                case "commit":
                    world.sessions[who].commit()
                    committed += written[who]
                    written[who] = []
                case "roll back":
                    world.sessions[who].rollback()
                    written[who] = []
                case "unrelated":
                    burn(world.reader, number)
                case "read":
                    client.keep(world.page(client, rows_max=who, bytes_max=number))
                case "killed":
                    world.page(client, rows_max=who)  # nothing of it arrived with its checkpoint
                case _:
                    raise AssertionError(what)
    finally:
        for each in world.sessions:
            each.rollback()
    drain(world, client)
    assert sorted(user_keys(client.rows)) == sorted(committed)
    again = world.begin(project)
    drain(world, again, rows_max=10_000)
    assert sorted(again.rows) == sorted(client.rows)


def test_one_large_transaction_is_read_in_pages_by_its_key(world: World) -> None:
    """Between two small ones; and its pages do not sort it."""
    project = next(PROJECTS)
    session = world.sessions[0]
    for rows in (3, 400, 3):
        run(session, INSERT, {"project": project, "name": "x", "rows": rows})
        session.commit()
    names = [name for (name,) in run(session, IN_ORDER, {"project": project})]
    session.rollback()
    client = world.begin(project)
    alone = 0
    while not (page := world.page(client, rows_max=25)).is_end:
        alone += client.position.received_to is not None
        client.keep(page)
    assert user_keys(client.rows + page.rows) == names
    assert alone > 10


def test_an_open_transaction_holds_back_what_came_after_it_and_nothing_is_lost(world: World) -> None:
    project = next(PROJECTS)
    early, late = world.sessions
    run(early, INSERT, {"project": project, "name": "early-", "rows": 1})
    run(late, INSERT, {"project": project, "name": "late-", "rows": 1})
    late.commit()
    client = world.begin(project)
    drain(world, client)
    assert client.rows == []
    early.commit()
    drain(world, client)
    assert user_keys(client.rows) == ["early-1", "late-1"]


def test_the_index_finds_the_transactions(module_database: MigratedDatabase, world: World) -> None:
    """In each partition of a table that is large enough, and has been vacuumed as autovacuum does it."""
    project = next(PROJECTS)
    with closing(psycopg2.connect(module_database.admin_url)) as admin:
        admin.autocommit = True
        for _ in range(40):
            run(admin, INSERT, {"project": project, "name": "x", "rows": 2_000})
        with admin.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE auth_event")
    client = world.begin(project)
    client.keep(world.page(client, rows_max=5_000))
    asked = {
        "project_id": project,
        "transaction": client.position.transaction,
        "ends": client.position.transaction + 3,
        "received_from": "-infinity",
        "received_at": "-infinity",
        "event_id": "00000000-0000-0000-0000-000000000000",
        "rows": 5_000,
    }
    explained = "EXPLAIN " + world.table.window.as_string(world.reader)
    plan = "\n".join(line for (line,) in run(world.reader, explained, asked))
    world.reader.rollback()
    # Partitions of other weeks are empty.
    assert re.search(r"Bitmap Index Scan on auth_event_\d{8}_commit_xid_idx", plan), plan


def user_keys(rows: Sequence[str]) -> list[str]:
    return [row.partition('"userKey":"')[2].partition('"')[0] for row in rows]


def drain(world: World, client: Client, rows_max: int = 7) -> None:
    is_end = False
    while not is_end:
        page = world.page(client, rows_max=rows_max)
        client.keep(page)
        is_end = page.is_end


def run(session: Connection, statement: str, parameters: dict[str, object]) -> list[Any]:
    with session.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def burn(session: Connection, number: int) -> None:
    """Use ids of transactions for nothing."""
    for _ in range(number):
        with session:
            run(session, "SELECT pg_current_xact_id()::text", {})
