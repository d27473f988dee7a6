"""Shared reads: one query answers all who asked before it began, and nobody who asked after."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servicekit.concurrency.request_collapsing import CollapsedReads
from tests.servicekit.simulation import simulate


@dataclass(frozen=True)
class Asking:
    """Someone asks `question` at second `at`, and goes away after `patience` seconds."""

    at: int
    question: str = "totals"
    patience: int | None = None


@dataclass(frozen=True)
class Query:
    """What the n-th query does."""

    takes: int = 1
    fails: bool = False


class QueryFailed(Exception):
    pass


@dataclass(eq=False)
class Answer:
    question: str
    turn: int  # in the order of all questions and queries: two can happen at the same instant
    begun_at: float


@dataclass
class World:
    askings: Sequence[Asking]
    queries: Sequence[Query] = ()  # those beyond the last take a second
    turns: Iterator[int] = field(default_factory=count)
    asked: dict[int, int] = field(default_factory=dict)
    begun: list[Answer] = field(default_factory=list)
    answers: list[Answer | QueryFailed | None] = field(default_factory=list)  # None: went away
    answered_at: list[float] = field(default_factory=list)

    def run(self) -> "World":
        simulate(self._play)
        return self

    async def _play(self) -> None:
        self._time = asyncio.get_running_loop().time
        self._running: set[str] = set()
        reads = CollapsedReads(self._ask)
        self.answers = [None] * len(self.askings)
        self.answered_at = [0.0] * len(self.askings)
        await asyncio.gather(*(self._get(reads, number) for number in range(len(self.askings))))
        await asyncio.sleep(1_000)  # a query whose callers have all gone ends, too

    async def _get(self, reads: CollapsedReads[str, Answer], number: int) -> None:
        asking = self.askings[number]
        await asyncio.sleep(asking.at)
        getting = asyncio.create_task(self._get_now(reads, number))
        if asking.patience is not None:
            await asyncio.sleep(asking.patience)
            getting.cancel()
        with suppress(asyncio.CancelledError):
            try:
                self.answers[number] = await getting
            except QueryFailed as failure:
                self.answers[number] = failure
        self.answered_at[number] = self._time()

    async def _get_now(self, reads: CollapsedReads[str, Answer], number: int) -> Answer:
        self.asked[number] = next(self.turns)
        return await reads.get(self.askings[number].question)

    async def _ask(self, question: str) -> Answer:
        assert question not in self._running, "the same question twice at a time"
        answer = Answer(question, next(self.turns), self._time())
        number = len(self.begun)
        self.begun.append(answer)
        query = self.queries[number] if number < len(self.queries) else Query()
        self._running.add(question)
        try:
            await asyncio.sleep(query.takes)
        finally:
            self._running.discard(question)
        if query.fails:
            raise QueryFailed(answer)
        return answer


_ASKINGS = st.builds(
    Asking, at=st.integers(0, 12), question=st.sampled_from("abc"), patience=st.none() | st.integers(0, 6)
)
_QUERIES = st.builds(Query, takes=st.integers(0, 5), fails=st.booleans())


@settings(max_examples=500, deadline=None)
@given(st.lists(_ASKINGS, min_size=1, max_size=12), st.lists(_QUERIES, max_size=8))
def test_nobody_gets_an_answer_that_is_older_than_the_question(askings: list[Asking], queries: list[Query]) -> None:
    world = World(askings, queries).run()

    for number, (asking, answer) in enumerate(zip(askings, world.answers, strict=True)):
        if answer is None:
            assert asking.patience is not None
            assert world.answered_at[number] == asking.at + asking.patience
            continue
        told = answer.args[0] if isinstance(answer, QueryFailed) else answer
        assert told.question == asking.question
        later = [each for each in world.begun if each.question == told.question and each.turn > world.asked[number]]
        assert told is later[0], "of a query that began before the question, or not the first after it"


def test_those_who_ask_while_a_query_runs_share_the_next_one() -> None:
    world = World([Asking(0), Asking(1), Asking(2), Asking(3)], [Query(takes=5)]).run()

    assert [each.begun_at for each in world.begun] == [0, 5]
    assert world.answered_at == [5, 6, 6, 6]


def test_an_error_reaches_everybody_who_shared_the_query_and_nobody_else() -> None:
    world = World([Asking(0), Asking(0), Asking(1)], [Query(takes=2, fails=True)]).run()

    assert [type(each) for each in world.answers] == [QueryFailed, QueryFailed, Answer]


def test_a_caller_that_goes_away_takes_the_answer_from_nobody() -> None:
    world = World([Asking(0, patience=1), Asking(0)], [Query(takes=3)]).run()

    assert world.answers[0] is None
    assert world.answered_at[1] == 3


def test_a_query_that_fails_after_everybody_went_away_leaves_no_trace() -> None:
    world = World([Asking(0, patience=1)], [Query(takes=3, fails=True)]).run()

    assert world.answers == [None]


def test_different_questions_never_wait_for_each_other() -> None:
    world = World([Asking(0, question) for question in "abcdefgh"], [Query(takes=3)] * 8).run()

    assert world.answered_at == [3] * 8


def test_nothing_is_kept_of_a_question_that_was_answered() -> None:
    async def program() -> None:
        async def ask(question: int) -> int:
            return question

        reads: CollapsedReads[int, int] = CollapsedReads(ask)
        assert [await reads.get(question) for question in range(1_000)] == list(range(1_000))
        await asyncio.sleep(0)
        assert not vars(reads)["_running"]
        assert not vars(reads)["_next"]

    simulate(program)


@pytest.mark.parametrize("askers", [1, 1_000])
def test_one_query_answers_all(askers: int) -> None:
    world = World([Asking(0)] * askers).run()

    assert len(world.begun) == 1
    assert all(answer is world.begun[0] for answer in world.answers)


async def test_all_who_ask_for_one_query_share_its_future() -> None:
    async def read(key: str) -> str:
        return key.upper()

    reads = CollapsedReads(read)
    first, second, other = reads.begin("a"), reads.begin("a"), reads.begin("b")

    assert first is second
    assert first is not other
    assert (await reads.get("a"), await first, await other) == ("A", "A", "B")
