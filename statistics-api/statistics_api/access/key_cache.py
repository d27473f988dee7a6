"""Remembers the stored keys for a while, so that most requests with a key ask the database nothing."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from servicekit.concurrency.request_collapsing import CollapsedReads
from statistics_api.access.queries import StoredKey

# A key that is revoked, or whose project becomes inactive, is refused after this time at the latest.
KEPT_SECONDS = 30.0
KEPT_MAX = 10_000
# An unknown id is remembered shortly and in a place of its own: it must not drive out a known one.
UNKNOWN_KEPT_SECONDS = 2.0
UNKNOWN_KEPT_MAX = 1_000


class _Kept(NamedTuple):
    # When the query for it began, by the monotonic clock.
    begun: float
    keys: tuple[StoredKey, ...]


class KeyCache:
    """The stored keys by their id; one for each process."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[tuple[StoredKey, ...]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Kept] = OrderedDict()
        self._unknown: OrderedDict[str, _Kept] = OrderedDict()

        async def read_timed(key_id: str) -> _Kept:
            begun = monotonic()
            return _Kept(begun, await read(key_id))

        self._reads = CollapsedReads(read_timed)

    async def get(self, key_id: str) -> tuple[StoredKey, ...]:
        """Return the keys with this id, at most KEPT_SECONDS old. Raises as the read of the database."""
        for kept_keys, seconds in ((self._known, KEPT_SECONDS), (self._unknown, UNKNOWN_KEPT_SECONDS)):
            kept = kept_keys.get(key_id)
            if kept is not None and self._monotonic() - kept.begun < seconds:
                return kept.keys
        kept = await self._reads.get(key_id)
        self._keep(key_id, kept)
        return kept.keys

    def _keep(self, key_id: str, kept: _Kept) -> None:
        place, size, other = (
            (self._known, KEPT_MAX, self._unknown) if kept.keys else (self._unknown, UNKNOWN_KEPT_MAX, self._known)
        )
        other.pop(key_id, None)
        place[key_id] = kept
        place.move_to_end(key_id)
        while len(place) > size:
            place.popitem(last=False)
