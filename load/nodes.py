"""What one event costs the coordinator and the workers of a Citus cluster, or one server, by the size of a flush.

`python -m load.nodes URL` with the administrator's URL of a migrated database whose nodes run on this machine, and
DB_USER and DB_PASSWORD of the writer. It records auth events with the private service's own statements, one flush after
the other on one warm connection, and reads the processor time of all processes of each server.
"""

import os
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn
from uuid_utils import uuid7

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import DeviceType
from contract.delivery import IdempotencyKey
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.citus.state import workers
from device_registration_api.events import idempotency
from device_registration_api.events.recording import record, record_carefully
from device_registration_api.events.rows import Rows
from servicekit.database.commit import repeat_until_known
from servicekit.database.connection_string import SERVICE_TIMEOUTS, dsn
from servicekit.database.lease import Lease
from servicekit.database.pool import Database

FLUSHES = (1, 50, 200, 1_000)
SECONDS = 5.0
WARM_UP_FLUSHES = 20
_TICK_MICROSECONDS = 1_000_000 / os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """Microseconds of processor time an event, and milliseconds a flush."""

    coordinator: float
    workers: float
    flush: float


def main(url: str) -> None:
    """Print a table: a line for each size of a flush, without keys and with a key for each event."""
    with closing(psycopg2.connect(url)) as connection:
        others = workers(connection)
    servers = [_server(url), *(_server(make_dsn(url, host=each.host, port=each.port)) for each in others)]
    target = parse_dsn(url)
    database = Database(
        dsn(
            host=target["host"],
            port=int(target.get("port", "5432")),
            name=target["dbname"],
            user=os.environ["DB_USER"],
            password=os.environ["DB_PASSWORD"],
            application="load",
            timeouts=SERVICE_TIMEOUTS,
        ),
        connections_max=1,
        wait_seconds_max=1.0,
        prepare=[*idempotency.PREPARED, *AUTH_EVENTS.prepared()],
    )
    print(f"1 coordinator, {len(others)} workers" if others else "1 server")
    print("events a flush  keys  us an event, coordinator  workers  ms a flush")
    for keyed in (False, True):
        for events in FLUSHES:
            cost = _measured(database, servers, events, keyed)
            print(
                f"{events:14}  {'yes' if keyed else 'no':>4}  {cost.coordinator:24.1f}  {cost.workers:7.1f}  "
                f"{cost.flush:10.1f}",
                flush=True,
            )


def _measured(database: Database, servers: list[int], events: int, keyed: bool) -> Cost:
    for _ in range(WARM_UP_FLUSHES):
        _flush(database, events, keyed)
    before = [_microseconds(each) for each in servers]
    begun = time.monotonic()
    flushes = 0
    while time.monotonic() - begun < SECONDS:
        _flush(database, events, keyed)
        flushes += 1
    took = time.monotonic() - begun
    coordinator, *others = [_microseconds(each) - was for each, was in zip(servers, before, strict=True)]
    recorded = flushes * events
    return Cost(coordinator / recorded, sum(others) / recorded, took / flushes * 1_000)


def _flush(database: Database, events: int, keyed: bool) -> None:
    now = datetime.now(UTC)
    ids = [str(uuid7()) for _ in range(events)]
    columns = AuthEventColumns.model_construct(
        user_keys=[f"user {each[-6:]}" for each in ids], device_types=[DeviceType.IOS] * events
    )
    keys = {
        place: IdempotencyKey(key=each, fingerprint=sha256(each.encode()).hexdigest())
        for place, each in enumerate(ids if keyed else ())
    }
    rows = Rows([1] * events, [now] * events, ids, columns, {}, keys)
    attempt = partial(record, table=AUTH_EVENTS, rows=rows, slot=0)
    recorded = repeat_until_known(
        Lease(database), attempt, partial(record_carefully, table=AUTH_EVENTS, rows=rows, slot=0)
    )
    if recorded.outcomes:
        raise RuntimeError(f"not all were recorded: {recorded.outcomes}")


def _server(url: str) -> int:
    """Return the process id of the server behind a URL, which runs on this machine."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int")
        [(pid,)] = cursor.fetchall()
        return int(pid)


def _microseconds(server: int) -> float:
    """Return the processor time of a server and all its processes, those that have ended too."""
    tasks = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    ticks = sum(sum(_times(int(pid))[:2]) for pid in tasks)
    return (ticks + sum(_times(server))) * _TICK_MICROSECONDS


def _times(pid: int) -> tuple[int, int, int, int]:
    """User and system time of a process in ticks, then those of its children that have ended."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:  # it has ended since
        return 0, 0, 0, 0
    user, system, ended_user, ended_system = map(int, after_name[11:15])
    return user, system, ended_user, ended_system


if __name__ == "__main__":
    main(sys.argv[1])
