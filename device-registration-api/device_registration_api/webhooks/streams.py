"""Streams: batches of events as they are, in their order, each after the one before was received.

A batch is made anew for each attempt and stored nowhere: an event that is erased is in no later one. The position of a
stream moves when a batch was received. So each event is received at least once, as long as it is stored.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from device_registration_api.exports.pages import ExportedTable, Page, read_page, start
from device_registration_api.exports.position import Position, read_position
from device_registration_api.kinds import KINDS
from device_registration_api.webhooks.queue import CLAIMED_FOR, Claimed, pause_seconds
from device_registration_api.webhooks.sending import Outcome
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, DomainError

BATCH = "events.batch"
BATCH_ROWS_MAX = 500
BATCH_BYTES_MAX = 256 * 1024
# The statements of a batch share a connection with everything else that the process does.
_PAGE_SECONDS_MAX = 0.5
# How soon a stream without new events is looked at again.
IDLE = timedelta(seconds=2)
# After a restore, events are sent again from so long before the last ones that were received.
OVERLAP = timedelta(hours=1)

_TABLES: Mapping[str, ExportedTable] = {table.kind: ExportedTable(table) for table in KINDS}

CLAIM = """
    UPDATE webhook_stream AS s
       SET claimed_until = %(claimed_until)s
      FROM (SELECT due.project_id, due.webhook_id, due.kind, w.url, p.project_key
              FROM webhook_stream AS due
              JOIN webhook AS w USING (project_id, webhook_id)
              JOIN project AS p USING (project_id)
             WHERE due.next_attempt_at <= %(now)s AND w.is_active AND p.deleted_at IS NULL
               AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
             ORDER BY due.next_attempt_at
             LIMIT %(streams)s
               FOR NO KEY UPDATE OF due SKIP LOCKED) AS due
     WHERE s.project_id = due.project_id AND s.webhook_id = due.webhook_id AND s.kind = due.kind
 RETURNING s.project_id, s.webhook_id::text, due.url, due.project_key, s.kind, s.cursor, s.claimed_until,
           s.failed_attempts, coalesce(s.delivered_at, s.created_at)
"""
# Only by whoever has the claim: another process may have gone on since.
NOTE = """
    UPDATE webhook_stream
       SET claimed_until = NULL, cursor = %(cursor)s, failed_attempts = %(failed_attempts)s, last_error = %(error)s,
           delivered_at = coalesce(%(delivered_at)s, delivered_at), next_attempt_at = %(next_attempt_at)s
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid AND kind = %(kind)s
       AND claimed_until = %(claimed_until)s
"""


class _ClaimedStream(NamedTuple):
    project_id: int
    webhook_id: str
    url: str
    project_key: str
    kind: str
    cursor: str
    claimed_until: datetime
    failed_attempts: int
    received_until: datetime

    @property
    def webhook(self) -> Claimed:
        return Claimed(self.project_id, UUID(self.webhook_id), self.url)


class Batch(NamedTuple):
    """Events of a stream that are to be sent, and where it goes on when they were received."""

    stream: _ClaimedStream
    position: Position
    # The same for the same events, and so for a repeat; one with other events has another id.
    delivery_id: str
    payload: str

    @property
    def webhook(self) -> Claimed:
        """To which webhook."""
        return self.stream.webhook


def claim_batches(conn: Connection, now: datetime, streams_max: int) -> list[Batch]:
    """Claim streams that are due, and return the next events of those that have some. Commits."""
    named = {"now": now, "claimed_until": now + CLAIMED_FOR, "streams": streams_max}
    with conn:
        claimed = fetch_all(conn, CLAIM, named, _ClaimedStream)
    found = []
    for stream in claimed:
        try:
            page = _next_page(conn, stream)
        except DomainError as error:
            _note(conn, stream, stream.cursor, next_attempt_at=_later(stream, now), error=error.code)
            continue
        if page.rows:
            found.append(Batch(stream, page.position, _id(stream, page), _payload(stream, page, now)))
        else:
            pause = IDLE if page.is_end else timedelta()
            _note(conn, stream, page.position.text(), next_attempt_at=now + pause, failed=stream.failed_attempts)
    return found


def note_batch(conn: Connection, batch: Batch, at: datetime, outcome: Outcome) -> None:
    """Note what came of an attempt that began `at`. Commits."""
    ended = at + timedelta(milliseconds=outcome.duration_ms)
    stream = batch.stream
    if outcome.is_delivered:
        _note(conn, stream, batch.position.text(), next_attempt_at=ended, delivered_at=ended)
    else:
        error = outcome.error or f"status {outcome.status}"
        _note(conn, stream, stream.cursor, next_attempt_at=_later(stream, ended), error=error)


def _next_page(conn: Connection, stream: _ClaimedStream) -> Page:
    table = _TABLES[stream.kind]
    position = read_position(stream.cursor, stream.kind, stream.project_id)
    try:
        return _page(conn, table, position)
    except Conflict:
        # The database was restored: nobody knows what was received of the new transactions.
        received_from = stream.received_until - OVERLAP
        return _page(conn, table, start(lambda: conn, table, stream.project_id, received_from))


def _page(conn: Connection, table: ExportedTable, position: Position) -> Page:
    return read_page(
        lambda: conn,
        table,
        position,
        rows_max=BATCH_ROWS_MAX,
        bytes_max=BATCH_BYTES_MAX,
        seconds_max=_PAGE_SECONDS_MAX,
    )


def _id(stream: _ClaimedStream, page: Page) -> str:
    events = "\n".join([stream.webhook_id, stream.kind, *page.rows])
    return "events_" + sha256(events.encode()).hexdigest()[:32]


def _payload(stream: _ClaimedStream, page: Page, now: datetime) -> str:
    # All of these but the rows are texts of ours, in which JSON escapes nothing.
    return (
        f'{{"type":"{BATCH}","timestamp":"{now.isoformat()}","data":{{"project_key":"{stream.project_key}",'
        f'"webhook_id":"{stream.webhook_id}","kind":"{stream.kind}","checkpoint":"{page.position.text()}",'
        f'"events":[{",".join(page.rows)}]}}}}'
    )


def _later(stream: _ClaimedStream, now: datetime) -> datetime:
    return now + timedelta(seconds=pause_seconds(stream.failed_attempts + 1, 1))


def _note(
    conn: Connection,
    stream: _ClaimedStream,
    cursor: str,
    *,
    next_attempt_at: datetime,
    error: str | None = None,
    delivered_at: datetime | None = None,
    failed: int = 0,
) -> None:
    noted = {
        "project_id": stream.project_id,
        "webhook_id": stream.webhook_id,
        "kind": stream.kind,
        "claimed_until": stream.claimed_until,
        "cursor": cursor,
        "next_attempt_at": next_attempt_at,
        "error": error,
        "delivered_at": delivered_at,
        "failed_attempts": stream.failed_attempts + 1 if error is not None else failed,
    }
    with conn:
        execute(conn, NOTE, noted)
