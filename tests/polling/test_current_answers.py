"""An answer is read once while nothing changes, and is never older than the question."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.database.visible_state import visible_state
from servicekit.errors import BadRequest, NotRecorded
from statistics_api.polling import current_answers
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.tagged_answers import TaggedAnswer
from tests.servers import Cluster

QUESTIONS = (1, 2)


class Sums:
    """Answers with the sum of the rows of a group, and counts how often it reads."""

    def __init__(self) -> None:
        self.reads = 0

    def __call__(self, lease: Lease, question: int) -> TaggedAnswer:
        self.reads += 1
        if question not in QUESTIONS:
            raise BadRequest("no such group")
        with lease.transaction() as conn:
            statement = "SELECT coalesce(sum(number), 0) FROM fact WHERE part = %(part)s"
            [found] = fetch_all(conn, statement, {"part": question}, int)
        return TaggedAnswer(b"%d" % found, question)


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """A database with one table."""
    with cluster.new_database() as name:
        url = cluster.admin_url(name)
        with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute("CREATE TABLE fact (part int, number int)")
        yield url


@asynccontextmanager
async def asking(url: str, sums: Sums) -> AsyncIterator[CurrentAnswers[int]]:
    database = Database(url, connections_max=2, wait_seconds_max=5, read_only=True)
    try:
        yield CurrentAnswers(database, sums, seconds_max=5)
    finally:
        database.close()


def change(connection: Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


INSERT = "INSERT INTO fact SELECT part, 1 FROM generate_series(1, 2) AS part"
DELETE = "DELETE FROM fact WHERE ctid = (SELECT ctid FROM fact LIMIT 1 FOR UPDATE SKIP LOCKED)"
ELSEWHERE = "CREATE TEMPORARY TABLE IF NOT EXISTS other (id int)"
_STEPS = st.sampled_from(["ask 1", "ask both twice", "insert", "delete", "elsewhere", "commit", "roll back"])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(_STEPS, st.integers(0, 1)), max_size=12))
def test_every_answer_is_that_of_a_read_of_its_own(url: str, steps: list[tuple[str, int]]) -> None:
    async def run() -> None:
        sums = Sums()
        with ExitStack() as undo:
            writers = [undo.enter_context(closing(psycopg2.connect(url))) for _ in range(2)]
            reader = undo.enter_context(closing(psycopg2.connect(url)))
            reader.autocommit = True

            async def ask(answers: CurrentAnswers[int], *questions: int) -> None:
                found = await asyncio.gather(*map(answers.get, questions))
                for question, each in zip(questions, found, strict=True):
                    with reader.cursor() as cursor:
                        cursor.execute("SELECT coalesce(sum(number), 0) FROM fact WHERE part = %s", [question])
                        assert cursor.fetchone() == (int(each.body),)

            async with asking(url, sums) as answers:
                for step, writer in steps:
                    match step:
                        case "ask 1":
                            await ask(answers, 1)
                        case "ask both twice":
                            await ask(answers, 1, 2, 2, 1)
                        case "commit":
                            writers[writer].commit()
                        case "roll back":
                            writers[writer].rollback()
                        case _:
                            changes = {"insert": INSERT, "delete": DELETE, "elsewhere": ELSEWHERE}
                            change(writers[writer], changes[step])
                await ask(answers, 1, 2)

    asyncio.run(run())


async def test_it_is_read_seldom_while_nothing_changes(url: str) -> None:
    sums = Sums()
    async with asking(url, sums) as answers:
        found = {(await answers.get(question)).etag for _ in range(20) for question in QUESTIONS}
    assert len(found) == len(QUESTIONS)
    assert sums.reads < 10  # the server may vacuum meanwhile, which is a change, too


async def test_a_change_during_a_read_is_in_the_next_answer(url: str) -> None:
    with closing(psycopg2.connect(url)) as writer:
        sums = Sums()

        def read(lease: Lease, question: int) -> TaggedAnswer:
            found = sums(lease, question)
            change(writer, "INSERT INTO fact VALUES (1, 1)")
            writer.commit()
            return found

        database = Database(url, connections_max=2, wait_seconds_max=5, read_only=True)
        answers = CurrentAnswers(database, read, seconds_max=5)
        bodies = [int((await answers.get(1)).body) for _ in range(3)]
        database.close()
    assert bodies == [bodies[0], bodies[0] + 1, bodies[0] + 2]


async def test_nothing_is_kept_beyond_the_limit_and_no_error_is_kept(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sums = Sums()
    async with asking(url, sums) as answers:
        for _ in range(2):
            with pytest.raises(BadRequest):
                await answers.get(3)
        assert sums.reads == 2
        monkeypatch.setattr(current_answers, "KEPT_BYTES_MAX", 6_000)  # room for one
        for _ in range(2):
            await answers.get(1)
            await answers.get(2)
        assert sums.reads >= 2 + 4
        monkeypatch.setattr(current_answers, "KEPT_BYTES_MAX", 1_000)
        await answers.get(1)
        await answers.get(1)
        assert sums.reads >= 2 + 4 + 2


async def test_an_answer_is_not_given_when_the_database_cannot_be_asked(cluster: Cluster) -> None:
    with cluster.new_database() as name:
        url = cluster.admin_url(name)
        with closing(psycopg2.connect(url)) as writer:
            change(writer, "CREATE TABLE fact (part int, number int)")
            writer.commit()
        async with asking(url, Sums()) as answers:
            await answers.get(1)
            await answers.get(1)
            cluster.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
            statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}"
            cluster.execute(sql.SQL(statement).format(sql.Literal(name)))
            with pytest.raises(NotRecorded):
                await answers.get(1)


async def test_a_state_is_the_same_until_a_transaction_has_changed_something(url: str) -> None:
    database = Database(url, connections_max=1, wait_seconds_max=5, read_only=True)
    with closing(psycopg2.connect(url)) as writer:
        first = await database.run(visible_state, 5)
        change(writer, "SELECT count(*) FROM fact")
        writer.commit()
        assert first == await database.run(visible_state, 5)
        change(writer, "INSERT INTO fact VALUES (2, 0)")
        assert first == await database.run(visible_state, 5)
        writer.commit()
        assert first != await database.run(visible_state, 5)
    database.close()
