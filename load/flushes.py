"""What one event costs the private service and PostgreSQL, by the number of events in a flush.

`python -m load.flushes` starts both services on a server of its own and sends the private one forwards as
statistics-api does, one after the other on one connection: of 1, 64 and 250 events, without keys, and with a key each
of which none, 1 % or 50 % were used before.
"""

import http.client
import itertools
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from uuid_utils import uuid7

from load.environment import BenchEnvironment
from local.postgres import Postgres, wheel_binaries

FLUSHES = (1, 64, 250)
REPLAYED = (None, 0.0, 0.01, 0.5)
EVENTS = 60_000
FLUSHES_MAX = 2_000
ROUNDS = 3
PATH = "/events/auth_events/forward"
DEVICE_TYPES = ("Android", "TV", "Watch", "iOS")

_TICK_MICROSECONDS = 1_000_000 / os.sysconf("SC_CLK_TCK")


class Event(NamedTuple):
    """What a forward says of one event; no key is an empty one."""

    event_id: str
    received_at: str
    user_key: str
    device_type: str
    key: str


class Cost(NamedTuple):
    """Microseconds of processor time an event."""

    private: float
    postgresql: float


def forward(events: list[Event]) -> dict[str, Any]:
    """The body that statistics-api sends."""
    return {
        "project_ids": [1] * len(events),
        "event_ids": [event.event_id for event in events],
        "received_at": [event.received_at for event in events],
        "columns": {
            "user_keys": [event.user_key for event in events],
            "device_types": [event.device_type for event in events],
        },
        "keys": {
            place: {"key": event.key, "fingerprint": sha256(event.user_key.encode()).hexdigest()}
            for place, event in enumerate(events)
            if event.key
        },
        "request_ids": [event.event_id for event in events],
    }


def make_events(replayed: float | None) -> Iterator[Event]:
    """Events without end; of those that have a key, a share repeats an event of before under an id of its own."""
    earlier: list[Event] = []
    for number in itertools.count():
        if replayed and earlier and random.random() < replayed:  # noqa: S311 - not a secret
            event = random.choice(earlier)  # noqa: S311 - not a secret
            yield event._replace(event_id=str(uuid7()), received_at=datetime.now(UTC).isoformat())
            continue
        event_id = str(uuid7())
        event = Event(
            event_id,
            datetime.now(UTC).isoformat(),
            f"user-{number % 5_000}",
            DEVICE_TYPES[number % len(DEVICE_TYPES)],
            event_id if replayed is not None else "",
        )
        if replayed and number % 10 == 0:
            earlier.append(event)
        yield event


class Caller:
    """One connection to the private service."""

    def __init__(self, url: str, token: str, path: str = PATH, body: Callable[[list[Event]], Any] = forward) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._path = path
        self._body = body

    def send(self, events: Iterator[Event], flushes: int, rows: int) -> None:
        """Send `flushes` forwards of `rows` events each."""
        bodies = [json.dumps(self._body(list(itertools.islice(events, rows)))) for _ in range(flushes)]
        for body in bodies:
            self._connection.request("POST", self._path, body, self._headers)
            response = self._connection.getresponse()
            answer = response.read()
            if response.status != http.client.OK:
                message = f"{response.status}: {answer[:500]!r}"
                raise SystemExit(message)


def measure(caller: Caller, private: int, postmaster: int, rows: int, replayed: float | None) -> Cost:
    """Return the lowest of a few rounds, because other work on the machine can only increase a figure."""
    flushes = min(FLUSHES_MAX, EVENTS // rows)
    events = make_events(replayed)
    caller.send(events, flushes // 10, rows)
    costs = []
    for _ in range(ROUNDS):
        before = processor_microseconds(private), processor_microseconds(postmaster)
        caller.send(events, flushes, rows)
        after = processor_microseconds(private), processor_microseconds(postmaster)
        costs.append([(end - begin) / (flushes * rows) for begin, end in zip(before, after, strict=True)])
    return Cost(*map(min, zip(*costs, strict=True)))


def processor_microseconds(pid: int) -> float:
    """Of a process and of all its children, those that ended included."""
    while True:
        try:
            return _of_tree(pid)
        except (FileNotFoundError, ProcessLookupError):
            # A child has ended between two readings. Its parent has its time from then on, so all is read again.
            if not Path(f"/proc/{pid}").exists():
                raise


def _of_tree(pid: int) -> float:
    total = _ticks(pid, ended_children=True) * _TICK_MICROSECONDS
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += sum(_of_tree(int(child)) for child in (task / "children").read_text().split())
    return total


def _ticks(pid: int, *, ended_children: bool) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended_children else 13]))


def line(name: str, rows: int, replayed: float | None, cost: Cost) -> str:
    """One row of the table."""
    keys = "none" if replayed is None else f"each, {replayed:.0%} replays"
    return f"| {name} | {rows} | {keys} | {cost.private:.1f} | {cost.postgresql:.1f} |"


HEAD = "| variant | events a flush | keys | private, µs an event | PostgreSQL, µs an event |\n|---|---:|---|---:|---:|"


def main() -> int:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory(prefix="flushes-") as name:
        folder = Path(name)
        server = Postgres(folder / "postgres", wheel_binaries())
        server.start()
        try:
            with BenchEnvironment(server, folder).product("flushes") as product:
                private, postmaster = product.private.pid, server.pid
                assert private is not None  # noqa: S101 - it is ready
                assert postmaster is not None  # noqa: S101 - it was started
                caller = Caller(product.private.url, product.private.env["SERVICE_TOKEN"])
                print(HEAD)
                for replayed in REPLAYED:
                    for rows in FLUSHES:
                        print(line("now", rows, replayed, measure(caller, private, postmaster, rows, replayed)))
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
