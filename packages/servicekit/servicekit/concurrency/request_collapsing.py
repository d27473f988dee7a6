"""One query answers every caller that asked before it started."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class CollapsedReads(Generic[Key, Value]):
    """Runs each distinct key at most once at a time.

    A caller never gets a value from a query that began before it asked: that would break read-your-writes. So
    callers that ask while a query runs share the next one.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]]) -> None:
        self._read = read
        self._next: dict[Key, asyncio.Future[Value]] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}

    def begin(self, key: Key) -> "asyncio.Future[Value]":
        """The value of the next query for `key`, or whatever that query raises; to be called in the event loop.

        All who ask for this query share the future: it is not to be cancelled.
        """
        future = self._next.get(key)
        if future is None:
            future = self._next[key] = asyncio.get_running_loop().create_future()
            if key not in self._running:
                self._running[key] = asyncio.create_task(self._run(key))
        return future

    async def get(self, key: Key) -> Value:
        """As `begin`; a caller that is cancelled takes the value from nobody."""
        return await asyncio.shield(self.begin(key))

    async def _run(self, key: Key) -> None:
        try:
            while (future := self._next.pop(key, None)) is not None:
                await self._answer(key, future)
        finally:
            del self._running[key]
            if (unanswered := self._next.pop(key, None)) is not None:
                unanswered.cancel()

    async def _answer(self, key: Key, future: "asyncio.Future[Value]") -> None:
        try:
            value = await self._read(key)
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - not swallowed: everybody who asked gets it
            future.set_exception(error)
            future.exception()  # else asyncio reports it as never retrieved when everybody has gone away meanwhile
        else:
            future.set_result(value)
