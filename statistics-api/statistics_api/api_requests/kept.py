"""Keeps what was read, with the state that it had, up to a size; the least recently used values leave."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple


class Known(NamedTuple):
    """A value, its state, and its size."""

    state: str
    value: Any
    size: int


class Kept:
    """What the threads of one process have read. Its users never change a value."""

    def __init__(self, size_max: int) -> None:
        self._size_max = size_max
        self._size = 0
        self._known: OrderedDict[Hashable, Known] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Known | None:
        """Return what was read last of this key, if it is still kept."""
        with self._lock:
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
            return known

    def put(self, key: Hashable, known: Known) -> None:
        """Keep this in place of what was read before, if it is not larger than all that is kept."""
        with self._lock:
            former = self._known.pop(key, None)
            self._size -= former.size if former is not None else 0
            if known.size > self._size_max:
                return
            self._known[key] = known
            self._size += known.size
            while self._size > self._size_max:
                _, oldest = self._known.popitem(last=False)
                self._size -= oldest.size
