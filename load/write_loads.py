"""The kinds of event that the bench writes, and the least that PostgreSQL can do to store the same rows.

A new kind is one entry here; `load.writes` measures each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from uuid_utils import uuid7


@dataclass(frozen=True)
class WriteLoad:
    """One kind: how a client sends an event of it, and how its row is stored without the product."""

    # Where one event is posted; a batch is posted to the same path and `/batch`.
    path: str
    # One event as a client sends it; each `{number}` in it becomes the event's number.
    event: str
    fact: str
    columns: str
    # The same row as SQL expressions for pgbench, and as a line for COPY with a time and the event's number.
    values: str
    copy_line: Callable[[str, int], str]

    @property
    def insert(self) -> str:
        """The transaction of pgbench."""
        return f"INSERT INTO {self.fact} ({self.columns}) VALUES ({self.values});"  # noqa: S608 - constants of this file

    def copy_rows(self, rows: int) -> str:
        """Return the lines of `rows` rows for COPY."""
        now = datetime.now(UTC).isoformat()
        return "".join(self.copy_line(now, number) for number in range(rows))


AUTH_EVENTS = WriteLoad(
    path="/Log/auth",
    event='{"userKey":"user-{number}","deviceType":"iOS"}',
    fact="auth_event",
    columns="project_id, received_at, event_id, occurred_at, device_type, user_key",
    values="1, now(), gen_random_uuid(), now(), 'iOS', 'user-123'",
    copy_line=lambda now, number: f"1\t{now}\t{uuid7()}\t{now}\tiOS\tuser-{number}\n",
)

WRITE_LOADS = (AUTH_EVENTS,)
