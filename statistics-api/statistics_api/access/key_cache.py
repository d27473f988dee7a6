"""Remembers stored keys and projects for a while, so that most requests with a key ask the database nothing."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, TypeVar

from servicekit.concurrency.request_collapsing import CollapsedReads

Stored = TypeVar("Stored")

# A key that is revoked, or whose project becomes inactive, is refused after this time at the latest.
KEPT_SECONDS = 30.0
KEPT_MAX = 10_000
# An unknown id is remembered shortly and in a place of its own: it must not drive out a known one.
UNKNOWN_KEPT_SECONDS = 2.0
UNKNOWN_KEPT_MAX = 1_000
_NEVER = float("-inf")


class _Kept(NamedTuple, Generic[Stored]):
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
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Kept[Stored]] = OrderedDict()
        self._unknown: OrderedDict[str, _Kept[Stored]] = OrderedDict()

        async def read_timed(key: str) -> _Kept[Stored]:
            begun, changes = monotonic(), self._changes
            found = await read(key)
            # What the read saw may have changed while it ran: then its age counts from before any time.
            return _Kept(begun if changes == self._changes else _NEVER, found)

        # How often something was forgotten.
        self._changes = 0
        self._reads = CollapsedReads(read_timed)

    async def get(self, key: str) -> tuple[Stored, ...]:
        """Return what is stored under this key, at most KEPT_SECONDS old. Raises as the read of the database."""
        remembered = self.remembered(key)
        if remembered is not None:
            return remembered
        kept = await self._reads.get(key)
        self._keep(key, kept)
        return kept.found

    def remembered(self, key: str) -> tuple[Stored, ...] | None:
        """Return the same without a read, or None if nothing young enough is remembered."""
        for place, seconds in ((self._known, KEPT_SECONDS), (self._unknown, UNKNOWN_KEPT_SECONDS)):
            kept = place.get(key)
            if kept is not None and self._monotonic() - kept.begun < seconds:
                return kept.found
        return None

    def forget(self, key: str) -> None:
        """Read what is stored under this key again at its next use."""
        self._changes += 1
        self._known.pop(key, None)
        self._unknown.pop(key, None)

    def forget_where(self, concerns: Callable[[Stored], bool]) -> None:
        """Read again whatever includes something that the change concerns."""
        self._changes += 1
        for key in [key for key, kept in self._known.items() if any(map(concerns, kept.found))]:
            del self._known[key]

    def _keep(self, key: str, kept: _Kept[Stored]) -> None:
        place, size, other = (
            (self._known, KEPT_MAX, self._unknown) if kept.found else (self._unknown, UNKNOWN_KEPT_MAX, self._known)
        )
        other.pop(key, None)
        place[key] = kept
        place.move_to_end(key)
        while len(place) > size:
            place.popitem(last=False)
