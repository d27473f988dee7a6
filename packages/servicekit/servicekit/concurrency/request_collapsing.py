"""One query answers every caller that asked before it started."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class CollapsedReads(Generic[Key, Value]):
    """Runs each distinct key at most once at a time.

    A caller never gets a value from a query that began before its own call: that would break read-your-writes. So all
    callers that arrive while a query runs share the next query.
    """

    def __init__(self, read: Callable[[Key], Awaitable[Value]]) -> None:
        self._read = read
        self._next: dict[Key, asyncio.Future[Value]] = {}
        self._running: dict[Key, asyncio.Task[None]] = {}

    def begin(self, key: Key) -> "asyncio.Future[Value]":
        """Return a future of the value of the next query for `key`, or of its error. Call it in the event loop.

        All callers of this query share the future, so a caller must not cancel it.
        """
        future = self._next.get(key)
        if future is None:
            future = self._next[key] = asyncio.get_running_loop().create_future()
            if key not in self._running:
                self._running[key] = asyncio.create_task(self._run(key))
        return future

    async def get(self, key: Key) -> Value:
        """Wait for the value. A cancelled caller does not affect the other callers of the same query."""
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
        except Exception as error:  # noqa: BLE001 - not swallowed: every caller gets it
            future.set_exception(error)
            future.exception()  # otherwise asyncio reports it as never retrieved when all callers were cancelled
        else:
            future.set_result(value)
