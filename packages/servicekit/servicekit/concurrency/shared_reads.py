"""One query answers everybody who asked before it started."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Question = TypeVar("Question", bound=Hashable)
Answer = TypeVar("Answer")


class SharedReads(Generic[Question, Answer]):
    """Runs each distinct question at most once at a time.

    A caller never gets an answer from a query that began before it asked: that would break read-your-writes. So
    those who ask while a query runs share the next one.
    """

    def __init__(self, ask: Callable[[Question], Awaitable[Answer]]) -> None:
        self._ask = ask
        self._next: dict[Question, asyncio.Future[Answer]] = {}
        self._running: dict[Question, asyncio.Task[None]] = {}

    async def get(self, question: Question) -> Answer:
        """The answer of the next query for `question`; whatever that query raises."""
        future = self._next.get(question)
        if future is None:
            future = self._next[question] = asyncio.get_running_loop().create_future()
            if question not in self._running:
                self._running[question] = asyncio.create_task(self._run(question))
        # Shielded: one caller that goes away must not take the answer from the others.
        return await asyncio.shield(future)

    async def _run(self, question: Question) -> None:
        try:
            while (future := self._next.pop(question, None)) is not None:
                await self._answer(question, future)
        finally:
            del self._running[question]
            if (unanswered := self._next.pop(question, None)) is not None:
                unanswered.cancel()

    async def _answer(self, question: Question, future: "asyncio.Future[Answer]") -> None:
        try:
            answer = await self._ask(question)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: everybody who asked gets it
            future.set_exception(error)
            future.exception()  # else asyncio reports it as never retrieved when everybody has gone away meanwhile
        else:
            future.set_result(answer)
