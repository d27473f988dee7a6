"""Release 0.1.0 as the database sees it: its statements, its time-outs and its repeats, frozen."""

from __future__ import annotations

import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from io import StringIO
from typing import Any, NamedTuple, TypeAlias, TypeVar

import psycopg2
from psycopg2 import errors

from servicekit.database import Connection

SESSION = "-c statement_timeout=2000 -c lock_timeout=500 -c idle_in_transaction_session_timeout=5000"
CONTENTION_ATTEMPTS_MAX = 5
BATCH_EVENTS_MAX = 80
COUNTED = ("project_id", "device_type", "bucket_start", "events")

Answer: TypeAlias = dict[str, Any]
Result = TypeVar("Result")

CLAIM_KEYS = """
    INSERT INTO idempotency (project_id, key, body_sha256, event_id, received_at)
    SELECT project_id, key, decode(body_sha256, 'hex'), event_id, received_at
      FROM json_to_recordset(%(claims)s::json)
        AS claim(project_id int, key text, body_sha256 text, event_id uuid, received_at timestamptz)
     ORDER BY project_id, key, event_id
        ON CONFLICT (project_id, key) DO NOTHING
    RETURNING event_id::text
"""
READ_OWNERS = """
    SELECT owner.project_id, owner.key, encode(owner.body_sha256, 'hex'), owner.event_id::text, owner.answer::text
      FROM idempotency AS owner
      JOIN json_to_recordset(%(claims)s::json) AS claim(project_id int, key text) USING (project_id, key)
"""
KEEP_ANSWER = """
    UPDATE idempotency
       SET answer = %(answer)s::jsonb
     WHERE project_id = %(project_id)s AND key = %(key)s
"""
RECORD = """
    WITH inserted AS (
        INSERT INTO auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
        SELECT project_id, received_at, event_id, COALESCE(occurred_at, received_at), device_type, user_key
          FROM json_to_recordset(%(registrations)s::json)
            AS sent(project_id int, received_at timestamptz, event_id uuid, occurred_at timestamptz,
                    device_type device_type, user_key text)
         ORDER BY project_id, received_at, event_id
            ON CONFLICT (project_id, received_at, event_id) DO NOTHING
        RETURNING project_id, device_type, occurred_at
    )
    SELECT project_id, device_type::text, date_bin('1 minute', occurred_at, 'epoch'), count(*)
      FROM inserted
     GROUP BY 1, 2, 3
"""
COPY = """
    COPY auth_event (project_id, received_at, event_id, occurred_at, device_type, user_key)
    FROM STDIN
"""
COUNT = """
    WITH per_minute AS (
        SELECT project_id, device_type, bucket_start, events
          FROM json_to_recordset(%(per_minute)s::json)
            AS counted(project_id int, device_type device_type, bucket_start timestamptz, events bigint)
    ), totals AS (
        INSERT INTO auth_event_total AS t (project_id, device_type, slot, event_count)
        SELECT project_id, device_type, %(slot)s, sum(events)
          FROM per_minute
         GROUP BY 1, 2
         ORDER BY 1, 2
            ON CONFLICT (project_id, device_type, slot)
            DO UPDATE SET event_count = t.event_count + excluded.event_count
    ), quarter_hours AS (
        INSERT INTO auth_event_quarter_hour AS q (project_id, device_type, bucket_start, slot, event_count)
        SELECT project_id, device_type, date_bin('15 minutes', bucket_start, 'epoch'), %(slot)s, sum(events)
          FROM per_minute
         GROUP BY 1, 2, 3
         ORDER BY 1, 2, 3
            ON CONFLICT (project_id, device_type, bucket_start, slot)
            DO UPDATE SET event_count = q.event_count + excluded.event_count
    )
    INSERT INTO auth_event_minute AS m (project_id, device_type, bucket_start, slot, event_count)
    SELECT project_id, device_type, bucket_start, %(slot)s, events
      FROM per_minute
     ORDER BY 1, 2, 3
        ON CONFLICT (project_id, device_type, bucket_start, slot)
        DO UPDATE SET event_count = m.event_count + excluded.event_count
"""


class Sent(NamedTuple):
    """One identity, the fingerprint of what was sent under it, and the event or batch that carries it."""

    key: str
    fingerprint: str
    event_id: str


class Owner(NamedTuple):
    """What is stored under an identity."""

    project_id: int
    key: str
    body_sha256: str | None
    event_id: str
    answer: str | None


def new_identity(key: str) -> Sent:
    return Sent(key, sha256(key.encode()).hexdigest(), str(uuid.uuid4()))


def claim(conn: Connection, sent: list[Sent], received_at: datetime) -> tuple[set[str], list[Owner]]:
    """The event ids that were first under their key, and who was, for the others."""
    claims = json.dumps(
        [
            {
                "project_id": 1,
                "key": each.key,
                "body_sha256": each.fingerprint,
                "event_id": each.event_id,
                "received_at": received_at.isoformat(),
            }
            for each in sent
        ]
    )
    with conn.cursor() as cur:
        cur.execute(CLAIM_KEYS, {"claims": claims})
        won = {event_id for (event_id,) in cur.fetchall()}
        if len(won) == len(sent):
            return won, []
        cur.execute(READ_OWNERS, {"claims": claims})
        return won, [Owner(*row) for row in cur.fetchall()]


def record_events(conn: Connection, keyed: list[Sent], unkeyed: int, slot: int) -> int:
    """One flush of single events; the number of rows that were really inserted."""
    received_at = datetime.now(UTC)
    won, _ = claim(conn, keyed, received_at) if keyed else (set(), [])
    sent = [
        {
            "project_id": 1,
            "received_at": received_at.isoformat(),
            "event_id": event_id,
            "device_type": random.choice(["iOS", "TV"]),  # noqa: S311 - not a secret
            "user_key": "u",
        }
        for event_id in [*won, *(str(uuid.uuid4()) for _ in range(unkeyed))]
    ]
    with conn.cursor() as cur:
        cur.execute(RECORD, {"registrations": json.dumps(sent)})
        inserted = cur.fetchall()
        rows = [dict(zip(COUNTED, row, strict=True)) for row in inserted]
        if rows:
            cur.execute(COUNT, {"per_minute": json.dumps(rows, default=str), "slot": slot})
    return sum(row["events"] for row in rows)


def record_batch(conn: Connection, batch: Sent, events: int, slot: int) -> Answer:
    """One client's batch under a key of its own; the answer, which a repeat gets from the database."""
    received_at = datetime.now(UTC)
    won, owners = claim(conn, [batch], received_at)
    if not won:
        [owner] = owners
        assert owner.body_sha256 == batch.fingerprint
        assert owner.answer is not None
        stored: Answer = json.loads(owner.answer)
        return stored
    lines = "".join(f"1\t{received_at}\t{uuid.uuid4()}\t{received_at}\tWatch\tu\n" for _ in range(events))
    minute = received_at.replace(second=0, microsecond=0).isoformat()
    counted = [{"project_id": 1, "device_type": "Watch", "bucket_start": minute, "events": events}]
    answer: Answer = {"registered": events, "duplicate": 0, "rejected": 0, "results": []}
    with conn.cursor() as cur:
        cur.copy_expert(COPY, StringIO(lines))
        cur.execute(COUNT, {"per_minute": json.dumps(counted), "slot": slot})
        cur.execute(KEEP_ANSWER, {"project_id": 1, "key": batch.key, "answer": json.dumps(answer)})
    return answer


class NotRecorded(Exception):
    """What release 0.1.0 answers with 503."""


def commit(conn: Connection, work: Callable[[Connection], Result]) -> Result:
    """A deadlock or a lock time-out is repeated a few times, as release 0.1.0 does it."""
    for attempt in range(1, CONTENTION_ATTEMPTS_MAX + 1):
        try:
            with conn:
                return work(conn)
        except (errors.DeadlockDetected, errors.SerializationFailure, errors.LockNotAvailable) as error:
            if attempt == CONTENTION_ATTEMPTS_MAX:
                raise NotRecorded from error
        time.sleep(random.uniform(0, 0.05))  # noqa: S311 - not a secret
    raise AssertionError


class Processes:
    """Some processes of release 0.1.0, each with a connection and a slot of its own, that record until they stop."""

    def __init__(self, dsn: str, count: int) -> None:
        self.events = 0
        self.singles: list[Sent] = []
        self.batches: dict[Sent, Answer] = {}
        self.failures: list[Exception] = []
        self.slowest_seconds = 0.0
        self._dsn = dsn
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(slot,)) for slot in range(count)]

    @contextmanager
    def at_work(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        target, deadline = self.events + more, time.monotonic() + 30
        while self.events < target and not self.failures:
            assert time.monotonic() < deadline, "the writers stand still"
            time.sleep(0.01)

    def _work(self, slot: int) -> None:
        with closing(psycopg2.connect(self._dsn, options=SESSION)) as conn:
            while not self._stop.is_set():
                keyed = [new_identity(f"event-{uuid.uuid4()}") for _ in range(5)]
                batch = new_identity(f"batch-{uuid.uuid4()}")
                size = random.randint(1, BATCH_EVENTS_MAX)  # noqa: S311 - not a secret
                begun = time.monotonic()
                try:
                    recorded = commit(conn, lambda conn: record_events(conn, keyed, 15, slot))  # noqa: B023 - at once
                    answer = commit(conn, lambda conn: record_batch(conn, batch, size, slot))  # noqa: B023
                except Exception as error:  # noqa: BLE001 - the test shows it
                    self.failures.append(error)
                    return
                with self._lock:
                    self.events += recorded + size
                    self.singles += keyed
                    self.batches[batch] = answer
                    self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
