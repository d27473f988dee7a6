"""A write is repeated until its outcome is known."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

import pytest
from psycopg2 import errors

from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Contention, Lease
from servicekit.errors import NotRecorded, OutcomeUnknown
from tests.servicekit.commit_relay import CommitRelay, Loss
from tests.servicekit.conftest import LONG, MakeDatabase, Probe, execute

# Exact when repeated: the same id is stored, and counted, once.
INSERT_ONCE = "INSERT INTO probe VALUES (1) ON CONFLICT DO NOTHING RETURNING id"
ADD_ONE = "UPDATE probe SET n = n + 1 WHERE id = %s"

StartRelay = Callable[[Loss, int], CommitRelay]
Result = TypeVar("Result")


def commit(
    lease: Lease, work: Callable[[Connection], Result], fallback: Callable[[Connection], Result] | None = None
) -> Result:
    """Each attempt is one transaction."""
    return repeat_until_known(lease, _committed(work), None if fallback is None else _committed(fallback))


def _committed(work: Callable[[Connection], Result]) -> Callable[[Lease], Result]:
    def attempt(lease: Lease) -> Result:
        with lease.transaction() as conn:
            return work(conn)

    return attempt


@pytest.fixture
def start_relay(probe: Probe) -> Iterator[StartRelay]:
    with ExitStack() as undo:

        def start(loss: Loss, losses: int) -> CommitRelay:
            folder, port = probe.parts["host"], probe.parts["port"]
            relay = CommitRelay(Path(folder) / f".s.PGSQL.{port}", loss, losses)
            undo.callback(relay.close)
            return relay

        yield start


@pytest.mark.parametrize("loss", Loss)
async def test_a_commit_that_got_lost_is_repeated_until_it_is_known(
    loss: Loss, start_relay: StartRelay, make_database: MakeDatabase, probe: Probe
) -> None:
    relay = start_relay(loss, 2)
    database = make_database(host="127.0.0.1", port=relay.port)
    inserted: list[int] = []

    def write(conn: Connection) -> str:
        inserted.append(len(execute(conn, INSERT_ONCE)))
        return "known"

    assert await database.run(lambda lease: commit(lease, write), LONG) == "known"

    assert probe.rows() == [(1, 0)]
    assert relay.commits == 3
    # Whether the first attempt was stored shows only in the repeats.
    assert inserted == ([1, 0, 0] if loss is Loss.REPLY else [1, 1, 1])


@pytest.mark.parametrize("loss", Loss)
async def test_when_no_repeat_gets_through_in_time_the_outcome_is_unknown(
    loss: Loss, start_relay: StartRelay, make_database: MakeDatabase, probe: Probe
) -> None:
    relay = start_relay(loss, 1_000_000)
    database = make_database(host="127.0.0.1", port=relay.port)
    begun = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        await database.run(lambda lease: commit(lease, lambda conn: execute(conn, INSERT_ONCE)), 0.5)

    assert 0.4 < time.monotonic() - begun < LONG / 2
    assert relay.commits > 1
    assert probe.rows() == ([(1, 0)] if loss is Loss.REPLY else [])


async def test_once_unknown_a_server_that_has_gone_does_not_make_it_not_recorded(
    start_relay: StartRelay, make_database: MakeDatabase, probe: Probe
) -> None:
    relay = start_relay(Loss.REPLY, 1)
    database = make_database(host="127.0.0.1", port=relay.port)

    def write(conn: Connection) -> None:
        execute(conn, INSERT_ONCE)
        relay.close()  # no second connection

    with pytest.raises(OutcomeUnknown):
        await database.run(lambda lease: commit(lease, write), 0.5)

    assert probe.rows() == [(1, 0)]


@pytest.mark.parametrize("is_lost_again", [False, True])
async def test_once_unknown_a_repeat_that_is_refused_goes_on_with_what_is_not_and_stays_unknown(
    is_lost_again: bool, start_relay: StartRelay, make_database: MakeDatabase, probe: Probe
) -> None:
    relay = start_relay(Loss.REPLY, 1)
    database = make_database(host="127.0.0.1", port=relay.port)

    def write(conn: Connection) -> str:
        execute(conn, "INSERT INTO probe VALUES (1)")  # in its own way, once its COMMIT got lost
        return "at once"

    def fallback(conn: Connection) -> str:
        if is_lost_again:
            conn.close()  # as if the server had ended it
        execute(conn, INSERT_ONCE)
        return "carefully"

    running = database.run(lambda lease: commit(lease, write, fallback), 0.5)
    if is_lost_again:
        with pytest.raises(OutcomeUnknown):
            await running
    else:
        assert await running == "carefully"

    assert probe.rows() == [(1, 0)]


async def test_a_deadlock_is_repeated_and_both_are_stored_once(make_database: MakeDatabase, probe: Probe) -> None:
    probe.execute("INSERT INTO probe VALUES (1), (2)")
    database = make_database()
    both_hold_one = threading.Barrier(2)
    attempts = {(1, 2): 0, (2, 1): 0}

    def write(conn: Connection, first: int, second: int) -> None:
        attempts[first, second] += 1
        execute(conn, "SET LOCAL deadlock_timeout = 20")
        execute(conn, ADD_ONE, first)
        with suppress(threading.BrokenBarrierError):  # the repeat is alone
            both_hold_one.wait(1)
        execute(conn, ADD_ONE, second)
        both_hold_one.abort()

    def work(first: int, second: int) -> Callable[[Lease], None]:
        return lambda lease: commit(lease, lambda conn: write(conn, first, second))

    one = database.run(work(1, 2), LONG)
    other = database.run(work(2, 1), LONG)
    for each in [asyncio.ensure_future(one), asyncio.ensure_future(other)]:
        await each

    assert probe.rows() == [(1, 2), (2, 2)]
    assert sum(attempts.values()) > 2


async def test_a_lock_that_is_released_in_time_only_costs_time(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    attempts = 0
    with probe.session() as other:
        execute(other, "LOCK TABLE probe")

        def write(conn: Connection) -> None:
            nonlocal attempts
            attempts += 1
            if attempts == 3:
                other.rollback()
            execute(conn, "SET LOCAL lock_timeout = 20")
            execute(conn, INSERT_ONCE)

        await database.run(lambda lease: commit(lease, write), LONG)

    assert attempts == 3
    assert probe.rows() == [(1, 0)]


async def test_a_lock_that_stays_is_given_up_after_a_few_attempts(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    attempts = 0
    with probe.session() as other:
        execute(other, "LOCK TABLE probe")

        def write(conn: Connection) -> None:
            nonlocal attempts
            attempts += 1
            execute(conn, "SET LOCAL lock_timeout = 10")
            execute(conn, INSERT_ONCE)

        with pytest.raises(Contention):
            await database.run(lambda lease: commit(lease, write), LONG)

    assert attempts == 5
    assert probe.rows() == []


async def test_a_connection_lost_before_commit_is_not_recorded_at_once(
    make_database: MakeDatabase, probe: Probe
) -> None:
    database = make_database()
    attempts = 0

    def write(conn: Connection) -> None:
        nonlocal attempts
        attempts += 1
        execute(conn, INSERT_ONCE)
        probe.execute("SELECT pg_terminate_backend(%s, 5000)", conn.info.backend_pid)
        execute(conn, "SELECT 1")

    with pytest.raises(NotRecorded):
        await database.run(lambda lease: commit(lease, write), LONG)

    assert attempts == 1
    assert probe.rows() == []


async def test_refused_data_is_not_repeated(make_database: MakeDatabase, probe: Probe) -> None:
    attempts = 0

    def write(conn: Connection) -> None:
        nonlocal attempts
        attempts += 1
        execute(conn, "INSERT INTO probe VALUES (1, 100000)")

    with pytest.raises(errors.NumericValueOutOfRange):
        await make_database().run(lambda lease: commit(lease, write), LONG)

    assert attempts == 1
    assert probe.rows() == []
