"""Stores entries in the inbox, and remembers whether the first database is away."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import NamedTuple

from device_registration_api.events.json_parameter import as_json
from device_registration_api.inbox.entries import Entry
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Contention, Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.errors import DomainError

# In one order, because two transactions that insert the same keys in different orders would deadlock. The ids of events
# grow, so of two events under one key, the event that was received first is stored.
STORE = """
    INSERT INTO inbox_entry (kind, is_batch, project_id, event_id, received_at, event_count, identity, fingerprint,
                             envelope)
    SELECT kind, is_batch, project_id, event_id, received_at, event_count, identity, decode(fingerprint, 'hex'),
           envelope
      FROM json_to_recordset(%(entries)s::json)
        AS sent(kind text, is_batch boolean, project_id int, event_id uuid, received_at timestamptz, event_count int,
                identity text, fingerprint text, envelope text)
     ORDER BY project_id, identity, event_id
        ON CONFLICT DO NOTHING
    RETURNING event_id::text
"""
# Those that are there already: of the same event, or under the same key.
READ_OTHERS = """
    SELECT sent.event_id::text, bool_or(stored.event_id = sent.event_id),
           bool_or(stored.fingerprint = decode(sent.fingerprint, 'hex'))
      FROM json_to_recordset(%(entries)s::json)
        AS sent(project_id int, event_id uuid, identity text, fingerprint text)
      JOIN inbox_entry AS stored
        ON stored.event_id = sent.event_id
        OR (stored.project_id = sent.project_id AND stored.identity = sent.identity AND stored.refused_at IS NULL)
     GROUP BY sent.event_id
"""

_log = logging.getLogger(__name__)


class _Other(NamedTuple):
    event_id: str
    is_itself: bool
    says_the_same: bool | None


class Inbox:
    """The inbox of a process, and what the process knows of the first database. Used by the event loop alone."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._is_main_away = False

    @property
    def is_main_away(self) -> bool:
        """Whether the first database could not be used when it was last tried. The drain goes on trying it."""
        return self._is_main_away

    def main_is_away(self, reason: DomainError) -> None:
        """Let events go to the inbox at once from now on."""
        if not self._is_main_away:
            _log.warning("the first database is away, deferrable events go to the inbox: %s", reason)
        self._is_main_away = True

    def main_is_back(self) -> None:
        """Try the first database again with the next event."""
        if self._is_main_away:
            _log.info("the first database is back")
        self._is_main_away = False

    async def store(self, make: Callable[[], Sequence[Entry]], deadline: float) -> list[bool]:
        """Store the entries that `make` returns in a worker thread. Return whether each one's key was used for another
        request, which is still in the inbox; such an entry is not stored.

        Raises:
            NotRecorded: nothing is stored.
            OutcomeUnknown: it is unknown whether the entries are stored.
        """
        attempt = partial(_store, make=cache(make))
        return await self.database.run(partial(repeat_until_known, attempt=attempt), deadline - time.monotonic())


def insert_entries(conn: Connection, entries: Sequence[Entry]) -> set[str]:
    """Insert entries, and return the ids of those that were not there before. The caller owns the transaction."""
    return set(fetch_all(conn, STORE, {"entries": as_json(list(map(_row, entries)))}, str))


def _store(lease: Lease, make: Callable[[], Sequence[Entry]]) -> list[bool]:
    entries = make()
    with lease.transaction() as conn:
        stored = insert_entries(conn, entries)
        lost = [entry for entry in entries if entry.event_id not in stored]
        conflicts = _conflicts(conn, lost) if lost else set()
    return [entry.event_id in conflicts for entry in entries]


def _conflicts(conn: Connection, lost: Sequence[Entry]) -> set[str]:
    """Return the ids of those whose key another request has.

    Raises:
        Contention: an entry has just left; a repeat will store the new one.
    """
    others = fetch_all(conn, READ_OTHERS, {"entries": as_json(list(map(_row, lost)))}, _Other)
    if len(others) < len({entry.event_id for entry in lost}):
        raise Contention("an entry of the inbox was drained just now")
    return {other.event_id for other in others if not (other.is_itself or other.says_the_same)}


def _row(entry: Entry) -> Mapping[str, object]:
    row = entry._asdict()
    claim = row.pop("claim")
    return row | {
        "identity": None if claim is None else claim.key,
        "fingerprint": None if claim is None else claim.fingerprint,
    }
