"""Remembers values for a short time, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class _Kept(NamedTuple, Generic[Value]):
    begun: float
    value: Value


class RecentValues(Generic[Key, Value]):
    """Values by key, each for `seconds`; beyond `size`, the one that was stored first is forgotten."""

    def __init__(self, seconds: float, size: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._size = size
        self._monotonic = monotonic
        self._kept: OrderedDict[Key, _Kept[Value]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many values are kept, the old ones included."""
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """Return the value, or None if there is none or it is too old."""
        kept = self._kept.get(key)
        return None if kept is None or self._monotonic() - kept.begun >= self._seconds else kept.value

    def put(self, key: Key, value: Value, begun: float) -> None:
        """Keep a value. Its age counts from `begun`, a reading of the clock before the value was asked for."""
        self._kept[key] = _Kept(begun, value)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def forget(self, key: Key) -> None:
        """Forget the value of this key, if there is one."""
        self._kept.pop(key, None)

    def forget_where(self, concerns: Callable[[Value], bool]) -> None:
        """Forget each value that a change concerns."""
        for key in [key for key, kept in self._kept.items() if concerns(kept.value)]:
            del self._kept[key]
