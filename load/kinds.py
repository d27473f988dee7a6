"""The kinds of event that the bench writes: a new kind is a row here."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Bounds(NamedTuple):
    """What a ratio must keep, and what it should reach."""

    floor: float
    target: float


class BenchKind(NamedTuple):
    """What is posted, and the very row that the product stores of it, for PostgreSQL to store it without us.

    NUMBER stands for a number that differs from event to event of a batch.
    """

    # One event is posted here, a batch to the same path and `/batch`.
    path: str
    event: str
    fact: str
    # The values of the kind's own columns.
    own_columns: Mapping[str, str]
    one_process: Bounds
    two_workers: Bounds
    batches: Bounds

    def body(self, number: int) -> str:
        """The event with that number."""
        return self.event.replace("NUMBER", str(number))

    @property
    def columns(self) -> str:
        """The columns of the row, as INSERT and COPY name them."""
        return ", ".join(["project_id", "received_at", "event_id", "occurred_at", *self.own_columns])

    def own_values(self, number: int) -> list[str]:
        """The values of the kind's own columns for the event with that number."""
        return [value.replace("NUMBER", str(number)) for value in self.own_columns.values()]


KINDS: Sequence[BenchKind] = (
    BenchKind(
        "/Log/auth",
        event='{"userKey":"user-NUMBER","deviceType":"iOS"}',
        fact="auth_event",
        own_columns={"device_type": "iOS", "user_key": "user-NUMBER"},
        one_process=Bounds(0.30, 0.5),
        two_workers=Bounds(0.60, 1.0),
        batches=Bounds(0.35, 0.7),
    ),
)
