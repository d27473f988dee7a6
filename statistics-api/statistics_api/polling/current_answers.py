"""Reads answers: one read for all who ask the same at the same time, and none while nothing has changed."""

import time
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeVar

from servicekit.concurrency.request_collapsing import CollapsedReads
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.visible_state import visible_state
from statistics_api.polling.tagged_answers import TaggedAnswer

Question = TypeVar("Question", bound=Hashable)

KEPT_BYTES_MAX = 4 * 1024 * 1024
# What an answer takes beside its body, its question included.
_OVERHEAD_BYTES = 4 * 1024


class CurrentAnswers(CollapsedReads[Question, TaggedAnswer]):
    """The answers to one kind of question. An answer is a function of its question and of the tables, and of no clock.

    An answer that is kept is given again only if a query that began after the request has found that no transaction
    has ended since that changed anything. So a request gets what its own read would have found.
    """

    def __init__(
        self, database: Database, read: Callable[[Lease, Question], TaggedAnswer], *, seconds_max: float
    ) -> None:
        """Equal questions have one answer, so those of two types must not be equal, as tuples are.

        `read` runs in a thread, and makes the body there: thousands of rows would hold up the event loop."""
        super().__init__(self._current)
        self._database = database
        self._read_answer = read
        self._seconds_max = seconds_max
        self._kept: dict[Question, TaggedAnswer] = {}
        self._kept_bytes = 0
        # What the tables held when the kept answers were read.
        self._state: str | None = None

        async def read_state(_: None) -> str | None:
            return await database.run(visible_state, seconds_max)

        self._states = CollapsedReads(read_state)

    async def _current(self, question: Question) -> TaggedAnswer:
        deadline = time.monotonic() + self._seconds_max
        state = None
        if question in self._kept:
            state = await self._states.get(None)
            self._forget_unless(state)
            kept = self._kept.get(question)
            if kept is not None:
                return kept
        work = partial(self._read_between, question, state)
        answer, state = await self._database.run(work, deadline - time.monotonic(), named_after=self._read_answer)
        if state is not None:
            self._keep(question, answer, state)
        return answer

    def _read_between(self, question: Question, before: str | None, lease: Lease) -> tuple[TaggedAnswer, str | None]:
        """Return the answer, and the state before its first statement if that is also the state after the last."""
        before = before or visible_state(lease)
        answer = self._read_answer(lease, question)
        return answer, before if before == visible_state(lease) else None

    def _keep(self, question: Question, answer: TaggedAnswer, state: str) -> None:
        self._forget_unless(state)
        size = len(answer.body) + _OVERHEAD_BYTES
        if size > KEPT_BYTES_MAX:
            return
        if self._kept_bytes + size > KEPT_BYTES_MAX:
            self._kept, self._kept_bytes = {}, 0  # most questions of a past minute are not asked again
        self._kept[question] = answer
        self._kept_bytes += size

    def _forget_unless(self, state: str | None) -> None:
        # A state that has passed never comes back.
        if state is None or state != self._state:
            self._kept, self._kept_bytes = {}, 0
            self._state = state
