"""What clients did and were told, in the order in which it happened: the checker's only witness beside the database."""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path


class Ending(StrEnum):
    """How one attempt ended, as its client saw it."""

    OK = "ok"
    # Refused for what it was: 4xx. It must leave no row.
    REFUSED = "refused"
    # The service says that nothing was stored, or nothing was ever sent.
    NOT_RECORDED = "not-recorded"
    # No answer, a broken one, or one that says so.
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that should record an event. Times are readings of `time.monotonic`, in seconds."""

    identity: str
    begun: float
    ended: float
    ending: Ending
    status: int = 0
    replayed: bool = False
    # Sent to be refused: whatever became of it, it must leave no row.
    refusable: bool = False
    # The client wanted it to end so: a bad event was refused, or the client hung up.
    on_purpose: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """One read of a count, and the bounds that make it true.

    `acknowledged` events were answered with 200 before the read began; `invoked` ones had been sent when it ended.
    """

    group: str
    begun: float
    ended: float
    acknowledged: int
    count: int
    invoked: int


@dataclass
class History:
    """Appended to by the writers of one run, from one event loop."""

    attempts: list[Attempt] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    # Answers that break a promise by themselves: a 500, a 503 without Retry-After, a 4xx for a good event.
    improper: list[str] = field(default_factory=list)
    # The last time that something did not work which a client had a right to, a reading of `time.monotonic`.
    last_trouble: float = 0.0
    _invoked: dict[str, str] = field(default_factory=dict)
    _groups_invoked: Counter[str] = field(default_factory=Counter)
    _acknowledged: set[str] = field(default_factory=set)
    _groups_acknowledged: Counter[str] = field(default_factory=Counter)

    def invoke(self, identity: str, group: str | None) -> float:
        """An attempt begins; the time. `group` is where it would count; None if it must not count at all."""
        if group is not None and identity not in self._invoked:
            self._invoked[identity] = group
            self._groups_invoked[group] += 1
        return time.monotonic()

    def conclude(self, attempt: Attempt) -> None:
        """An attempt ended."""
        self.attempts.append(attempt)
        if attempt.ending is Ending.OK and attempt.identity not in self._acknowledged:
            self._acknowledged.add(attempt.identity)
            if attempt.identity in self._invoked:
                self._groups_acknowledged[self._invoked[attempt.identity]] += 1
        if attempt.ending is not Ending.OK and not attempt.on_purpose:
            self.last_trouble = attempt.ended

    def acknowledged(self, group: str) -> int:
        """Events of `group` that were answered with 200 so far."""
        return self._groups_acknowledged[group]

    def invoked(self, group: str) -> int:
        """Events of `group` that were sent so far, whatever came of them."""
        return self._groups_invoked[group]

    def suppressed(self) -> int:
        """Answers so far that replayed an earlier one instead of counting again."""
        return sum(attempt.replayed for attempt in self.attempts)

    def unknown(self) -> list[tuple[str, str]]:
        """IdempotencyKey and group of each event in good order whose fate no answer has told yet."""
        uncertain = {each.identity for each in self.attempts if each.ending is Ending.UNKNOWN and not each.refusable}
        return sorted((identity, self._invoked[identity]) for identity in uncertain - self._acknowledged)

    def save(self, path: Path) -> None:
        """Write everything down, one JSON object a line, to find out what happened."""
        operations: list[Attempt | Read] = [*self.attempts, *self.reads]
        lines = [json.dumps(asdict(each)) for each in sorted(operations, key=lambda each: each.begun)]
        path.write_text("\n".join([*lines, *(json.dumps({"improper": each}) for each in self.improper)]) + "\n")
