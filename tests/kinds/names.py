"""Names for events that hold nothing but numbers."""

from threading import Lock


class NumberedNames:
    """Numbers the names of a process in the order of their first use, as doubles."""

    def __init__(self) -> None:
        self._numbers: dict[str, float] = {}
        self._names: dict[float, str] = {}
        self._lock = Lock()

    def number(self, name: str) -> float:
        """The number of this name, always the same."""
        with self._lock:
            number = self._numbers.setdefault(name, float(len(self._numbers)))
            self._names[number] = name
            return number

    def name(self, number: float) -> str:
        """The name that has this number; a name of nobody if none has it."""
        return self._names.get(number, f"nobody has {number}")
