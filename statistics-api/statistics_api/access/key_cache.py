"""Remembers stored keys and projects for a while, so that most requests with a key ask the database nothing."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from servicekit.concurrency.request_collapsing import CollapsedReads
from statistics_api.access.recent import RecentValues

Stored = TypeVar("Stored")

# A key that is revoked, or whose project becomes inactive, is refused after this time at the latest.
KEPT_SECONDS = 30.0
KEPT_MAX = 10_000
# An unknown id is remembered shortly and in a place of its own: it must not drive out a known one.
UNKNOWN_KEPT_SECONDS = 2.0
UNKNOWN_KEPT_MAX = 1_000
_NEVER = float("-inf")


class _Read(NamedTuple, Generic[Stored]):
    # When the query for it began, by the monotonic clock.
    begun: float
    found: tuple[Stored, ...]


class KeyCache(Generic[Stored]):
    """What is stored under a key or an id: API keys, or projects; one of each for each process."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[tuple[Stored, ...]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known: RecentValues[str, tuple[Stored, ...]] = RecentValues(KEPT_SECONDS, KEPT_MAX, monotonic)
        self._unknown: RecentValues[str, tuple[Stored, ...]] = RecentValues(
            UNKNOWN_KEPT_SECONDS, UNKNOWN_KEPT_MAX, monotonic
        )

        async def read_timed(key: str) -> _Read[Stored]:
            begun, changes = monotonic(), self._changes
            found = await read(key)
            # What the read saw may have changed while it ran: then its age counts from before any time.
            return _Read(begun if changes == self._changes else _NEVER, found)

        # How often something was forgotten.
        self._changes = 0
        self._reads = CollapsedReads(read_timed)

    async def get(self, key: str) -> tuple[Stored, ...]:
        """Return what is stored under this key, at most KEPT_SECONDS old. Raises as the read of the database."""
        remembered = self.remembered(key)
        if remembered is not None:
            return remembered
        begun, found = await self._reads.get(key)
        place, other = (self._known, self._unknown) if found else (self._unknown, self._known)
        other.forget(key)
        place.put(key, found, begun)
        return found

    def remembered(self, key: str) -> tuple[Stored, ...] | None:
        """Return the same without a read, or None if nothing young enough is remembered."""
        found = self._known.get(key)
        return self._unknown.get(key) if found is None else found

    def forget(self, key: str) -> None:
        """Read what is stored under this key again at its next use."""
        self._changes += 1
        self._known.forget(key)
        self._unknown.forget(key)

    def forget_where(self, concerns: Callable[[Stored], bool]) -> None:
        """Read again whatever includes something that the change concerns."""
        self._changes += 1
        self._known.forget_where(lambda found: any(map(concerns, found)))
