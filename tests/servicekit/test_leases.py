"""Every use of a connection is bounded in time, and whatever breaks it is named by what it means for the data."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from psycopg2 import errors

from local.ports import free_port
from servicekit.database import Connection
from servicekit.database.lease import Contention, Lease
from servicekit.database.pool import Database
from servicekit.errors import NotRecorded
from tests.servicekit.conftest import LONG, MakeDatabase, Probe, execute


def running(*statements: str) -> Callable[[Lease], list[tuple[object, ...]]]:
    """Work that runs statements in one transaction; the rows of the last one."""

    def work(lease: Lease) -> list[tuple[object, ...]]:
        with lease.transaction() as conn:
            return [execute(conn, statement) for statement in statements][-1]

    return work


MY_PID = running("SELECT pg_backend_pid()")
# The server's own time-outs are far away, so that only the deadline can end a statement.
WITHOUT_TIMEOUTS = ("SET LOCAL statement_timeout = '60s'", "SET LOCAL lock_timeout = '60s'")


class Holding:
    """Work that keeps a connection until it is told to go on, then runs one statement."""

    def __init__(self, statement: str = "SELECT 1") -> None:
        self._statement = statement
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, lease: Lease) -> list[tuple[object, ...]]:
        with lease.transaction() as conn:
            self.begun.set()
            assert self.go_on.wait(LONG)
            return execute(conn, self._statement)


async def test_a_session_speaks_utf_8_whatever_its_environment_says(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    database = make_database()
    assert await database.run(running("SHOW client_encoding"), LONG) == [("UTF8",)]


async def pid(database: Database) -> object:
    ((number,),) = await database.run(MY_PID, LONG)
    return number


async def when_free(database: Database, work: Callable[[Lease], list[tuple[object, ...]]]) -> list[tuple[object, ...]]:
    """What `work` returns, as soon as its connection is not busy any more."""
    deadline = time.monotonic() + LONG
    while True:
        try:
            return await database.run(work, LONG)
        except NotRecorded:
            assert time.monotonic() < deadline


def seconds_since(begun: float) -> float:
    return time.monotonic() - begun


async def test_a_connection_is_kept_for_the_next_caller(make_database: MakeDatabase) -> None:
    database = make_database()

    assert await pid(database) == await pid(database)


async def test_an_idle_connection_that_died_is_replaced_before_anybody_notices(
    make_database: MakeDatabase, probe: Probe
) -> None:
    database = make_database()
    first = await pid(database)
    probe.execute("SELECT pg_terminate_backend(%s, 5000)", first)

    assert await pid(database) != first


async def test_a_connection_that_dies_in_use_takes_the_idle_ones_along_and_stores_nothing(
    make_database: MakeDatabase, probe: Probe
) -> None:
    database = make_database()
    idle, _ = await asyncio.gather(
        pid(database),
        database.run(running("SELECT pg_backend_pid() FROM pg_sleep(0.1)"), LONG),
    )

    def work(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "INSERT INTO probe VALUES (1)")
            probe.execute("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)
            execute(conn, "INSERT INTO probe VALUES (2)")

    with pytest.raises(NotRecorded):
        await database.run(work, LONG)

    assert probe.rows() == []
    assert await pid(database) != idle


async def test_the_deadline_cuts_a_statement_that_sleeps(make_database: MakeDatabase) -> None:
    database, begun = make_database(), time.monotonic()

    with pytest.raises(NotRecorded):
        await database.run(running(*WITHOUT_TIMEOUTS, "SELECT pg_sleep(30)"), 0.2)

    assert seconds_since(begun) < LONG / 2


async def test_the_deadline_cuts_a_statement_that_waits_for_a_lock(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    with probe.session() as other:
        execute(other, "LOCK TABLE probe")
        begun = time.monotonic()
        with pytest.raises(NotRecorded) as refusal:
            await database.run(running(*WITHOUT_TIMEOUTS, "INSERT INTO probe VALUES (1)"), 0.2)
        assert seconds_since(begun) < LONG / 2
    assert not isinstance(refusal.value, Contention)  # which is what the server's lock_timeout leads to

    assert probe.rows() == []
    assert await pid(database)


async def test_without_a_deadline_in_sight_the_server_ends_a_wait_for_a_lock(
    make_database: MakeDatabase, probe: Probe
) -> None:
    database = make_database()
    with probe.session() as other:
        execute(other, "LOCK TABLE probe")
        begun = time.monotonic()
        with pytest.raises(Contention):
            await database.run(running("INSERT INTO probe VALUES (1)"), LONG)
    assert 0.4 < seconds_since(begun) < LONG / 2


async def test_a_statement_that_the_server_finds_too_slow_stores_nothing(
    make_database: MakeDatabase, probe: Probe
) -> None:
    database = make_database()
    before = await pid(database)

    with pytest.raises(NotRecorded, match="too slow"):
        await database.run(
            running("SET LOCAL statement_timeout = 50", "INSERT INTO probe VALUES (1)", "SELECT pg_sleep(1)"), LONG
        )

    assert probe.rows() == []
    assert await pid(database) == before


def test_work_whose_deadline_has_passed_is_not_begun(make_database: MakeDatabase) -> None:
    lease = Lease(make_database(port=free_port()))  # nobody listens there: connecting would say so
    lease.expire()

    with pytest.raises(NotRecorded, match="deadline"):
        running("SELECT 1")(lease)


async def test_when_every_connection_is_busy_the_wait_is_bounded(make_database: MakeDatabase) -> None:
    database = make_database(connections_max=1, wait_seconds_max=0.1)
    holding = Holding()
    busy = asyncio.create_task(database.run(holding, LONG))
    await asyncio.to_thread(holding.begun.wait, LONG)
    begun = time.monotonic()

    with pytest.raises(NotRecorded, match="busy"):
        await database.run(running("SELECT 1"), LONG)

    assert 0.08 < seconds_since(begun) < LONG / 2
    holding.go_on.set()
    assert await busy == [(1,)]


async def test_a_caller_that_gives_up_does_not_free_a_connection_that_is_still_at_work(
    make_database: MakeDatabase,
) -> None:
    database = make_database(connections_max=1, wait_seconds_max=0.1)
    holding = Holding()
    busy = asyncio.create_task(database.run(holding, LONG))
    await asyncio.to_thread(holding.begun.wait, LONG)
    busy.cancel()

    with pytest.raises(NotRecorded, match="busy"):
        await database.run(running("SELECT 1"), LONG)

    holding.go_on.set()
    assert await when_free(database, running("SELECT 1")) == [(1,)]


async def test_a_thousand_callers_share_a_few_connections(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database(connections_max=3, wait_seconds_max=LONG, application_name="thousand")
    insert = running("INSERT INTO probe SELECT count(*) FROM probe ON CONFLICT DO NOTHING")
    await asyncio.gather(*(database.run(insert, LONG) for _ in range(1_000)))

    assert probe.rows()
    ((connections,),) = probe.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'thousand'")
    assert connections == 3


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("INSERT INTO probe VALUES (1, 100000)", errors.NumericValueOutOfRange),
        ("INSERT INTO probe VALUES (1, NULL)", errors.NotNullViolation),
        ("INSERT INTO probe VALUES (1), (1)", errors.UniqueViolation),
        ("SELECT 'x'::integer", errors.InvalidTextRepresentation),
    ],
)
async def test_data_that_is_refused_says_so_and_keeps_the_connection(
    make_database: MakeDatabase, probe: Probe, statement: str, error: type[psycopg2.Error]
) -> None:
    database = make_database()
    before = await pid(database)

    with pytest.raises(error):
        await database.run(running("INSERT INTO probe VALUES (7)", statement), LONG)

    assert probe.rows() == []
    assert await pid(database) == before


@pytest.mark.parametrize("statement", ["SELECT * FROM absent", "SELECT absent FROM probe", "SELECT absent()"])
async def test_a_schema_that_is_not_there_yet_is_no_fault_of_the_client(
    make_database: MakeDatabase, statement: str
) -> None:
    with pytest.raises(NotRecorded, match="schema is not ready"):
        await make_database().run(running(statement), LONG)


async def test_a_bug_in_the_work_rolls_back_and_is_not_hidden(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    before = await pid(database)

    def work(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "INSERT INTO probe VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.run(work, LONG)

    assert probe.rows() == []
    assert await pid(database) == before


async def test_a_server_that_cannot_be_reached_stores_nothing(make_database: MakeDatabase) -> None:
    with pytest.raises(NotRecorded, match="cannot be reached"):
        await make_database(port=free_port()).run(running("SELECT 1"), LONG)


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """libpq as it is while no name server answers, which no time-out of its own ends; set the event to let it go on."""
    answered = threading.Event()
    connect = psycopg2.connect

    def connect_when_answered(dsn: str) -> Connection:
        answered.wait(LONG)
        return connect(dsn)

    monkeypatch.setattr(psycopg2, "connect", connect_when_answered)
    yield answered
    answered.set()


async def test_a_name_that_nobody_resolves_stores_nothing_and_that_is_said_before_the_deadline(
    make_database: MakeDatabase, probe: Probe, silent_resolver: threading.Event
) -> None:
    database, begun = make_database(connections_max=1, wait_seconds_max=0.1), time.monotonic()
    insert = running("INSERT INTO probe VALUES (1)")

    with pytest.raises(NotRecorded, match="cannot be reached"):
        await database.run(insert, 2.0)
    assert seconds_since(begun) < 2.0

    # Its thread is still in there, and does nothing with the connection that it gets in the end.
    with pytest.raises(NotRecorded, match="busy"):
        await database.run(insert, LONG)
    silent_resolver.set()
    assert await when_free(database, running("SELECT 1")) == [(1,)]
    assert probe.rows() == []


async def test_the_wait_for_a_connection_ends_long_before_a_distant_deadline(
    make_database: MakeDatabase, silent_resolver: threading.Event
) -> None:
    assert not silent_resolver.is_set()
    begun = time.monotonic()

    with pytest.raises(NotRecorded, match="cannot be reached"):
        await make_database().run(running("SELECT 1"), LONG)

    assert seconds_since(begun) < LONG / 2


async def test_a_200_is_durable_even_where_the_servers_default_is_not(
    make_database: MakeDatabase, probe: Probe
) -> None:
    name = probe.parts["dbname"]
    probe.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    try:
        assert probe.execute("SHOW synchronous_commit") == [("off",)]
        assert await make_database().run(running("SHOW synchronous_commit"), LONG) == [("on",)]
    finally:
        probe.execute(f'ALTER DATABASE "{name}" RESET synchronous_commit')


@pytest.mark.parametrize(
    ("setting", "value"),
    [("statement_timeout", "2s"), ("lock_timeout", "500ms"), ("idle_in_transaction_session_timeout", "5s")],
)
async def test_every_session_has_its_time_outs(make_database: MakeDatabase, setting: str, value: str) -> None:
    assert await make_database().run(running(f"SHOW {setting}"), LONG) == [(value,)]


async def test_a_reader_cannot_write_whatever_its_role_may_do(make_database: MakeDatabase, probe: Probe) -> None:
    reader = make_database(read_only=True)

    with pytest.raises(NotRecorded):
        await reader.run(running("INSERT INTO probe VALUES (1)"), LONG)

    assert probe.rows() == []
    assert await reader.run(running("SELECT count(*) FROM probe"), LONG) == [(0,)]


async def test_a_reader_keeps_no_transaction_open(make_database: MakeDatabase, probe: Probe) -> None:
    reader = make_database(read_only=True)
    number = await pid(reader)

    assert probe.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", number) == [("idle",)]


async def test_closing_waits_for_running_work(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    holding = Holding("INSERT INTO probe VALUES (1) RETURNING id")
    running_work = asyncio.create_task(database.run(holding, LONG))
    await asyncio.to_thread(holding.begun.wait, LONG)

    closing = asyncio.create_task(asyncio.to_thread(database.close))
    await asyncio.sleep(0.1)
    assert not closing.done()
    holding.go_on.set()
    await closing

    assert probe.rows() == [(1, 0)]
    assert await running_work == [(1,)]
