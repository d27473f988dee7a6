"""What a process remembers of values that the database never changes."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """At most `size_max` values; those that were asked for last stay. Used by several threads."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._lock = threading.Lock()
        # Those that were asked for last are at the end.
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def of(self, keys: Iterable[Key]) -> dict[Key, Value]:
        """Return the values of those keys that are remembered."""
        with self._lock:
            found = {key: self._values[key] for key in keys if key in self._values}
            for key in found:
                self._values.move_to_end(key)
        return found

    def add(self, values: Mapping[Key, Value]) -> None:
        """Remember these, and forget those that were not asked for the longest."""
        with self._lock:
            self._values |= values
            while len(self._values) > self._size_max:
                self._values.popitem(last=False)
