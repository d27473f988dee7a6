"""The events that wait, and what comes next: a state machine without a clock, a thread or a socket.

Times are seconds of any monotonic clock. `record` may be called from every thread; the other methods belong to one.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from threading import Lock

from device_statistics_track.event import Event

# The events in memory, those of a batch on its way included. The newest ones are dropped beyond that.
EVENTS_MAX = 10_000
# An event waits for others, until there are this many or this time has passed.
FLUSH_EVENTS = 500
FLUSH_SECONDS = 1.0
# The limits of the receiver for one batch.
BATCH_EVENTS_MAX = 10_000
BATCH_BYTES_MAX = 4 * 1024 * 1024
# A batch that is refused as a whole is cut into at most 2 ** 6 pieces: 4 MiB end at 64 KiB.
HALVINGS_MAX = 6
BACKOFF_SECONDS_MAX = 300.0
# The time after an answer that no repeat can change: a wrong key, a wrong address.
PAUSE_SECONDS = 300.0
# A receiver that asks for a longer pause gets an attempt after an hour.
RETRY_AFTER_SECONDS_MAX = 3600.0


class Verdict(Enum):
    """What the receiver's answer means for a batch."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # not stored, or unknown: the same events with the same ids are sent again
    UNWANTED = "unwanted"  # this key or this address: no batch will be accepted
    REFUSED = "refused"  # this batch: a smaller one may be accepted


@dataclass(frozen=True)
class Answer:
    """The receiver's answer, or the lack of one."""

    verdict: Verdict
    reason: str = ""
    retry_after_seconds: float = 0.0
    rejected: int = 0  # the items of an accepted batch that were refused one by one


@dataclass(frozen=True)
class Batch:
    """Events on their way. A repeat is the same bytes under the same id, so the receiver can count it once."""

    id: str
    lines: tuple[bytes, ...]
    dropped: int  # the dropped events that this batch tells of
    halvings: int = 0

    @property
    def body(self) -> bytes:
        """The events as NDJSON."""
        return b"\n".join(self.lines) + b"\n"


class Backlog:
    """Keeps at most EVENTS_MAX events, and counts every event that it could not keep or deliver."""

    def __init__(
        self, encode: Callable[[Event], bytes], new_id: Callable[[], str], jitter: Callable[[], float]
    ) -> None:
        self._encode = encode
        self._new_id = new_id
        self._jitter = jitter  # a random number from [0, 1)
        # It is held for a few instructions only, because the host's event loop takes it too.
        self._lock = Lock()
        self._waiting: deque[Event] = deque()
        self._first_at = 0.0
        self._batches: deque[Batch] = deque()
        self._held = 0
        self._dropped = 0
        self._failures = 0
        self._backoff_until = float("-inf")
        self._asked_until = float("-inf")

    @property
    def held(self) -> int:
        """The number of events in memory."""
        return self._held

    @property
    def dropped(self) -> int:
        """The number of dropped events that no accepted batch has told of."""
        return self._dropped

    def record(self, event: Event, now: float) -> bool:
        """Keep an event, or drop and count it when the backlog is full. True when the sender must look at the clock."""
        with self._lock:
            if self._held >= EVENTS_MAX:
                self._dropped += 1
                return False
            self._held += 1
            self._waiting.append(event)
            count = len(self._waiting)
            if count == 1:
                self._first_at = now
        return count in (1, FLUSH_EVENTS)

    def seconds_until_due(self, now: float, *, hurry: bool = False) -> float | None:
        """Return how long to wait before the next batch, 0 when it is due, None when there is nothing to send.

        In a hurry nothing is waited for but a pause that the receiver asked for.
        """
        with self._lock:
            count = len(self._waiting)
            if not self._batches and not count:
                return None
            due_at = self._asked_until
            if not hurry:
                due_at = max(due_at, self._backoff_until)
                if not self._batches and count < FLUSH_EVENTS:
                    due_at = max(due_at, self._first_at + FLUSH_SECONDS)
        return max(0.0, due_at - now)

    def next_batch(self) -> Batch | None:
        """Return the batch to send: the one that was not accepted yet, else a new one. `settle` comes after it."""
        if not self._batches:
            with self._lock:
                events, self._waiting = self._waiting, deque()
                dropped = self._dropped
            # Outside the lock: ten thousand events take 50 ms.
            lines = self._encode_first(events)
            if events:
                with self._lock:
                    self._waiting.extendleft(reversed(events))
                    self._first_at = float("-inf")
            if lines:
                self._batches.append(Batch(self._new_id(), tuple(lines), dropped))
        return self._batches[0] if self._batches else None

    def settle(self, batch: Batch, answer: Answer, now: float) -> None:
        """Take the answer to the batch that `next_batch` returned."""
        if answer.verdict is Verdict.ACCEPTED:
            self._batches.popleft()
            self._forget(len(batch.lines), dropped=answer.rejected - batch.dropped)
            self._failures = 0
            return
        if answer.verdict is Verdict.UNWANTED:
            self._empty()
            self._failures = 0
            self._asked_until = now + PAUSE_SECONDS * (1 + self._jitter() / 10)
            return
        if answer.verdict is Verdict.REFUSED:
            self._halve(self._batches.popleft())
        self._failures += 1
        # The exponent is bounded, because 2.0 ** 1024 is an error.
        backoff = min(BACKOFF_SECONDS_MAX, 2.0 ** min(self._failures - 1, 30))
        self._backoff_until = now + backoff * (1 + self._jitter()) / 2
        asked = min(answer.retry_after_seconds, RETRY_AFTER_SECONDS_MAX)
        if asked > 0:
            # Never earlier than asked, and not all processes at the same moment.
            self._asked_until = now + asked * (1 + self._jitter() / 10)

    def _encode_first(self, events: deque[Event]) -> list[bytes]:
        """Encode events from the left until a batch is full; they are taken away."""
        lines: list[bytes] = []
        size = 0
        while events and len(lines) < BATCH_EVENTS_MAX:
            line = self._encode(events[0])
            size += len(line) + 1
            if size > BATCH_BYTES_MAX:
                break
            events.popleft()
            lines.append(line)
        return lines

    def _halve(self, batch: Batch) -> None:
        count = len(batch.lines)
        if count == 1 or batch.halvings == HALVINGS_MAX:
            self._forget(count, dropped=count)
            return
        middle = count // 2
        halvings = batch.halvings + 1
        self._batches.appendleft(Batch(self._new_id(), batch.lines[middle:], 0, halvings))
        self._batches.appendleft(Batch(self._new_id(), batch.lines[:middle], batch.dropped, halvings))

    def _empty(self) -> None:
        self._batches.clear()
        with self._lock:
            self._waiting.clear()
            self._dropped += self._held
            self._held = 0

    def _forget(self, count: int, *, dropped: int) -> None:
        with self._lock:
            self._held -= count
            self._dropped += dropped
