"""The kinds of event that the bench writes, and the least that PostgreSQL can do to store the same rows.

A new kind is one entry here; `load.writes` measures each of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from uuid_utils import uuid7


class Floors(NamedTuple):
    """What a kind must reach beside PostgreSQL; None where a figure is only shown.

    `single` is by one process and by two workers, `batches` beside COPY over four connections and over one.
    """

    single: tuple[float | None, float | None] = (None, None)
    keyed: float | None = None
    batches: tuple[float | None, float | None] = (None, None)


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
    floors: Floors
    # Whether a client has to send an API key.
    needs_key: bool = False

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
    floors=Floors(single=(1.0, 1.6), keyed=0.7, batches=(0.85, 0.35)),
)
API_REQUESTS = WriteLoad(
    path="/api/v1/track",
    event='{"url_path":"/orders/{id}","method":"GET","response_status_code":200,"response_time_ms":{number},'
    '"user_agent":"curl","consumer":"app"}',
    fact="api_request",
    columns="project_id, received_at, event_id, occurred_at, endpoint_id, url_path, method, status_code, response_us, "
    "user_agent, consumer",
    values="1, now(), gen_random_uuid(), now(), 1, '/orders/{id}', 'GET', 200, 123000, 'curl', 'app'",
    copy_line=lambda now, number: (
        f"1\t{now}\t{uuid7()}\t{now}\t1\t/orders/{{id}}\tGET\t200\t{1000 * number}\tcurl\tapp\n"
    ),
    floors=Floors(batches=(0.5, None)),
    needs_key=True,
)

# The first user of the bench's store, and its first type.
STORE_USER = "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55"
STORE_EVENTS = WriteLoad(
    path="/api/event",
    event='{"type":"purchase","user_id":"' + STORE_USER + '","data":{"order":{number}}}',
    fact="store_event",
    columns="project_id, received_at, event_id, occurred_at, type_id, person_id, data",
    values=f"1, now(), gen_random_uuid(), now(), 1, '{STORE_USER}', '{{\"order\": 1}}'",
    copy_line=lambda now, number: f'1\t{now}\t{uuid7()}\t{now}\t1\t{STORE_USER}\t{{"order": {number}}}\n',
    floors=Floors(),
    needs_key=True,
)

# The device that every project of the bench has, and its number, which no device that is created will get.
DEVICE, DEVICE_NUMBER = "writer", 1_000_000
MEASUREMENTS = WriteLoad(
    path=f"/api/v1/stats/devices/{DEVICE}",
    event='{"x":{number},"y":-1.5,"z":9.81}',
    fact="measurement",
    columns="project_id, received_at, event_id, occurred_at, device_number, x, y, z",
    values=f"1, now(), gen_random_uuid(), now(), {DEVICE_NUMBER}, 123, -1.5, 9.81",
    copy_line=lambda now, number: f"1\t{now}\t{uuid7()}\t{now}\t{DEVICE_NUMBER}\t{number}\t-1.5\t9.81\n",
    floors=Floors(),
    needs_key=True,
)

WRITE_LOADS = (AUTH_EVENTS, API_REQUESTS, STORE_EVENTS, MEASUREMENTS)
