"""A transaction in one or two strings of statements: every error in it is noticed, and named by what it means."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from psycopg2 import errors

from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Contention, Lease, StatementFailed, StringFailed
from servicekit.database.prepared import Prepared
from servicekit.errors import NotRecorded, OutcomeUnknown
from tests.servicekit.commit_relay import COPY_DONE, CommitRelay, Loss
from tests.servicekit.conftest import LONG, MakeDatabase, Probe, execute
from tests.servicekit.test_leases import pid, running

ADD = Prepared("add", "UPDATE probe SET n = n + {many} WHERE id = 0", {"many": "int4"})
COPY = b"COPY probe (id) FROM STDIN"
TWO_ROWS = Prepared("two_rows", "SELECT {one} UNION ALL SELECT 42", {"one": "int4"})
PREPARED = [ADD, TWO_ROWS]

StartRelay = Callable[[Loss, int], CommitRelay]


@pytest.fixture
def counted_probe(probe: Probe) -> Iterator[Probe]:
    """Row 0 is a counter; two constraints that are looked at no earlier than at the COMMIT."""
    probe.execute("INSERT INTO probe VALUES (0, 0)")
    probe.execute("CREATE TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    probe.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'as a cluster does' USING ERRCODE = TG_ARGV[0]; END $$"
    )
    yield probe
    probe.execute("DROP TABLE late")
    probe.execute("DROP FUNCTION fail CASCADE")


def fail_at(probe: Probe, when: str, sqlstate: str, table: str = "late") -> None:
    """Let each row that comes into the table fail, at once or at the COMMIT."""
    kind = "CONSTRAINT TRIGGER fail AFTER" if when == "commit" else "TRIGGER fail BEFORE"
    deferred = "DEFERRABLE INITIALLY DEFERRED" if when == "commit" else ""
    probe.execute(f"CREATE {kind} INSERT ON {table} {deferred} FOR EACH ROW EXECUTE FUNCTION fail('{sqlstate}')")


def strings(
    *, begin: bool = False, copy: bytes = COPY, data: bytes = b"1\n2\n", more: bytes | None = None
) -> Callable[[Lease], list[tuple[object, ...]]]:
    """Work that copies and counts, in one string or, after a BEGIN, in two."""

    def work(lease: Lease) -> list[tuple[object, ...]]:
        rows = []
        with lease.round_trips() as trips:
            if begin:
                trips.begin()
                rows = trips.run(TWO_ROWS, {"one": 41})
            trips.copy_and_commit(copy, data, [ADD.execute(trips.conn, {"many": 2}) if more is None else more])
        return rows

    return work


@pytest.mark.parametrize("begin", [False, True], ids=["one string", "two strings"])
async def test_everything_in_the_strings_is_committed(
    make_database: MakeDatabase, counted_probe: Probe, begin: bool
) -> None:
    rows = await make_database(prepare=PREPARED).run(strings(begin=begin), LONG)

    assert rows == ([(41,), (42,)] if begin else [])
    assert counted_probe.rows() == [(0, 2), (1, 0), (2, 0)]


@pytest.mark.parametrize("begin", [False, True], ids=["one string", "two strings"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"data": b"1\n1\n"}, errors.UniqueViolation),
        ({"data": b"one\n"}, errors.InvalidTextRepresentation),
        ({"more": b"EXECUTE add(100000)"}, errors.NumericValueOutOfRange),
        ({"copy": b"EXECUTE add(100000); " + COPY}, errors.NumericValueOutOfRange),
        ({"copy": b"COPY late FROM STDIN", "data": b"1\n1\n"}, errors.UniqueViolation),
    ],
    ids=["duplicate", "text", "after the copy", "before the copy", "at the commit"],
)
async def test_an_error_of_any_statement_or_of_the_commit_stores_nothing(
    make_database: MakeDatabase,
    counted_probe: Probe,
    begin: bool,
    fault: dict[str, bytes],
    error: type[Exception],
) -> None:
    database = make_database(prepare=PREPARED)
    before = await pid(database)

    with pytest.raises(error):
        await database.run(strings(begin=begin, **fault), LONG)

    assert counted_probe.rows() == [(0, 0)]
    assert counted_probe.execute("SELECT * FROM late") == []
    assert await pid(database) == before  # and it is no autocommit connection any more
    await database.run(strings(), LONG)
    assert counted_probe.rows() == [(0, 2), (1, 0), (2, 0)]


async def test_what_is_not_committed_in_the_block_is_rolled_back(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    database = make_database(prepare=PREPARED)

    def work(lease: Lease) -> None:
        with lease.round_trips() as trips:
            trips.begin()
            trips.run(ADD, {"many": 1})

    await database.run(work, LONG)
    assert counted_probe.rows() == [(0, 0)]

    def work_and_commit(lease: Lease) -> None:
        with lease.round_trips() as trips:
            trips.begin()
            trips.run(ADD, {"many": 1})
            trips.commit([ADD.execute(trips.conn, {"many": 3})])

    await database.run(work_and_commit, LONG)
    assert counted_probe.rows() == [(0, 4)]


async def test_an_error_of_the_commit_alone_is_noticed(make_database: MakeDatabase, counted_probe: Probe) -> None:
    add_late = Prepared("add_late", "INSERT INTO late VALUES ({x}), ({x})", {"x": "int4"})

    def work(lease: Lease) -> None:
        with lease.round_trips() as trips:
            trips.begin()
            trips.run(add_late, {"x": 1})
            trips.commit([ADD.execute(trips.conn, {"many": 1})])

    with pytest.raises(errors.UniqueViolation):
        await make_database(prepare=[ADD, add_late]).run(work, LONG)
    assert counted_probe.rows() == [(0, 0)]


async def test_a_connection_goes_back_and_forth_between_both_kinds_of_transaction(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    database = make_database(prepare=PREPARED)
    await database.run(strings(), LONG)

    def broken(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "INSERT INTO probe VALUES (7)")
            raise ZeroDivisionError  # rolled back only if psycopg2 began a transaction

    with pytest.raises(ZeroDivisionError):
        await database.run(broken, LONG)
    await database.run(strings(data=b"3\n"), LONG)

    assert counted_probe.rows() == [(0, 4), (1, 0), (2, 0), (3, 0)]


async def test_a_connection_lost_before_the_end_of_the_data_has_stored_nothing(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    def work(lease: Lease) -> None:
        with lease.round_trips() as trips:
            counted_probe.execute("SELECT pg_terminate_backend(%s, 5000)", trips.conn.info.backend_pid)
            trips.copy_and_commit(COPY, b"1\n")

    with pytest.raises(NotRecorded):
        await make_database(prepare=PREPARED).run(work, LONG)
    assert counted_probe.rows() == [(0, 0)]


@pytest.mark.parametrize("begin", [False, True], ids=["one string", "two strings"])
async def test_a_connection_lost_after_it_may_have_stored_everything(
    make_database: MakeDatabase, counted_probe: Probe, begin: bool
) -> None:
    with pytest.raises(OutcomeUnknown):
        await make_database(prepare=PREPARED).run(strings(begin=begin, more=b"SELECT pg_sleep(1)"), 0.3)
    await asyncio.sleep(1.2)
    # The server noticed nothing before the end: the only honest word was "unknown".
    assert counted_probe.rows() == [(0, 0), (1, 0), (2, 0)]


async def test_a_deadlock_and_a_lock_time_out_are_contention(make_database: MakeDatabase, counted_probe: Probe) -> None:
    with counted_probe.session() as other:
        execute(other, "LOCK TABLE probe")
        with pytest.raises(Contention):
            await make_database(prepare=PREPARED).run(strings(), LONG)
    assert counted_probe.rows() == [(0, 0)]


@pytest.mark.parametrize("sqlstate", ["XX000", "P0001", "58030", "53100", "53200"])
@pytest.mark.parametrize("when", ["row", "commit"])
async def test_a_server_that_fails_in_the_string_is_not_taken_for_refused_data(
    make_database: MakeDatabase, counted_probe: Probe, when: str, sqlstate: str
) -> None:
    fail_at(counted_probe, when, sqlstate)
    expected: dict[str, type[Exception]] = {"XX000": StringFailed, "P0001": StringFailed, "58030": OutcomeUnknown}

    with pytest.raises(expected.get(sqlstate, NotRecorded)):
        await make_database(prepare=PREPARED).run(strings(copy=b"COPY late FROM STDIN"), LONG)
    assert counted_probe.execute("SELECT * FROM late") == []


async def test_after_an_internal_error_the_fallback_tells_what_is_stored(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    fail_at(counted_probe, "row", "XX000", "probe")
    calls = []

    def attempt(lease: Lease) -> str:
        calls.append("copy")
        strings()(lease)
        return "copied"

    def fallback(lease: Lease) -> str:
        calls.append("fallback")
        with lease.transaction() as conn:
            execute(conn, "UPDATE probe SET n = 5")
        return "carefully"

    database = make_database(prepare=PREPARED)
    outcome = await database.run(lambda lease: repeat_until_known(lease, attempt, fallback), LONG)
    assert (outcome, calls) == ("carefully", ["copy", "fallback"])
    assert counted_probe.rows() == [(0, 5)]


async def test_an_internal_error_of_a_string_stays_unknown_while_the_fallback_cannot_tell(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    fail_at(counted_probe, "row", "XX000", "probe")

    def fallback(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "INSERT INTO probe VALUES (1)")  # fails in the same way

    with pytest.raises(OutcomeUnknown):
        await make_database(prepare=PREPARED).run(lambda lease: repeat_until_known(lease, strings(), fallback), 0.5)
    assert counted_probe.rows() == [(0, 0)]


async def test_an_internal_error_of_a_statement_that_commits_nothing_is_not_recorded(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    fail_at(counted_probe, "row", "XX000", "probe")

    def attempt(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "INSERT INTO probe VALUES (1)")

    database = make_database()
    before = await pid(database)
    with pytest.raises(StatementFailed):
        await database.run(lambda lease: repeat_until_known(lease, attempt, attempt), LONG)
    assert await pid(database) == before


async def test_a_server_that_became_read_only_is_left(make_database: MakeDatabase, probe: Probe) -> None:
    database = make_database()
    before = await pid(database)

    def work(lease: Lease) -> None:
        with lease.round_trips() as trips:
            trips.copy_and_commit(b"SET TRANSACTION READ ONLY; " + COPY, b"1\n")  # as it is on a standby

    with pytest.raises(NotRecorded):
        await database.run(work, LONG)
    assert await pid(database) != before
    assert probe.rows() == []


@pytest.fixture
def start_relay(counted_probe: Probe) -> Iterator[StartRelay]:
    with ExitStack() as undo:

        def start(loss: Loss, losses: int) -> CommitRelay:
            folder, port = counted_probe.parts["host"], counted_probe.parts["port"]
            relay = CommitRelay(Path(folder) / f".s.PGSQL.{port}", loss, losses, COPY_DONE)
            undo.callback(relay.close)
            return relay

        yield start


@pytest.mark.parametrize("loss", Loss)
async def test_a_string_that_got_lost_is_repeated_until_it_is_known(
    loss: Loss, start_relay: StartRelay, make_database: MakeDatabase, counted_probe: Probe
) -> None:
    relay = start_relay(loss, 2)
    refused = threading.Event()

    def fallback(_: Lease) -> str:
        refused.set()
        return "stored before"

    def attempt(lease: Lease) -> str:
        strings()(lease)
        return "stored now"

    database = make_database(host="127.0.0.1", port=relay.port, prepare=PREPARED)
    outcome = await database.run(lambda lease: repeat_until_known(lease, attempt, fallback), LONG)

    assert counted_probe.rows() == [(0, 2), (1, 0), (2, 0)]
    # Whether the first attempt was stored shows in the repeat: its own rows are in the way.
    assert (outcome, refused.is_set()) == (("stored before", True) if loss is Loss.REPLY else ("stored now", False))


async def test_without_the_schema_the_statements_wait_for_it(make_database: MakeDatabase, counted_probe: Probe) -> None:
    database = make_database(prepare=[*PREPARED, Prepared("later", "UPDATE later SET n = {n}", {"n": "int4"})])
    try:
        for _ in range(2):
            with pytest.raises(NotRecorded, match="schema is not ready"):
                await database.run(strings(), LONG)
            assert await database.run(running("SELECT 1"), LONG) == [(1,)]  # readiness can be asked for
        before = await pid(database)
        counted_probe.execute("CREATE TABLE later (n int4)")
        await database.run(strings(), LONG)
        assert await pid(database) == before
        assert counted_probe.rows() == [(0, 2), (1, 0), (2, 0)]
    finally:
        counted_probe.execute("DROP TABLE IF EXISTS later")


REPLACE_TABLE = """
    ALTER TABLE probe RENAME TO old;
    CREATE TABLE probe (id integer PRIMARY KEY, n smallint NOT NULL DEFAULT 0);
    INSERT INTO probe VALUES (0, 0);
    DROP TABLE old;
"""


@pytest.mark.parametrize(
    "change",
    [
        ["ALTER TABLE probe ADD COLUMN more text NOT NULL DEFAULT 'x'", "ALTER TABLE probe DROP COLUMN more"],
        ["ALTER TABLE probe ALTER COLUMN n TYPE int4", "ALTER TABLE probe ALTER COLUMN n TYPE smallint"],
        [REPLACE_TABLE, "SELECT 1"],
    ],
    ids=["column", "type", "table"],
)  # fmt: skip
async def test_prepared_statements_survive_a_change_of_the_schema(
    make_database: MakeDatabase, counted_probe: Probe, change: list[str]
) -> None:
    database = make_database(prepare=PREPARED)
    await database.run(strings(data=b"1\n"), LONG)
    before = await pid(database)
    counted_probe.execute(change[0])
    try:
        await database.run(strings(data=b"2\n"), LONG)
        assert counted_probe.execute("SELECT n FROM probe WHERE id = 0") in ([(2,)], [(4,)])
        assert await pid(database) == before
    finally:
        counted_probe.execute(change[1])


async def test_a_statement_whose_result_changed_is_prepared_anew_on_another_connection(
    make_database: MakeDatabase, counted_probe: Probe
) -> None:
    everything = Prepared("everything", "SELECT * FROM late WHERE x > {x}", {"x": "int4"})
    database = make_database(prepare=[everything])

    def attempt(lease: Lease) -> int:
        with lease.round_trips() as trips:
            trips.run(everything, {"x": 0})
            return trips.conn.info.backend_pid

    def work(lease: Lease) -> int:
        return repeat_until_known(lease, attempt)

    before = await database.run(work, LONG)
    counted_probe.execute("ALTER TABLE late ADD COLUMN y int")
    assert await database.run(work, LONG) != before


async def test_a_lost_prepared_statement_is_prepared_again(make_database: MakeDatabase, counted_probe: Probe) -> None:
    database = make_database(prepare=PREPARED)

    def forget(lease: Lease) -> None:
        with lease.transaction() as conn:
            execute(conn, "DEALLOCATE ALL")

    await database.run(strings(data=b"9\n"), LONG)
    await database.run(forget, LONG)
    with pytest.raises(NotRecorded):
        await database.run(strings(), LONG)
    await database.run(strings(), LONG)
    assert counted_probe.rows() == [(0, 4), (1, 0), (2, 0), (9, 0)]
