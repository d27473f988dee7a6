"""What waits in the inbox, for metrics and for commands."""

from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from contract.metric_names import NAMESPACE
from device_registration_api.inbox.connect import connect_to_inbox
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.metrics.stored import StoredValues
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from servicekit.metrics.families import gauge

# More entries than this are not counted.
ENTRIES_MAX = 100_000
_STATEMENT_SECONDS_MAX = 60
WAITING = gauge(
    f"{NAMESPACE}_inbox_waiting_entries", f"Events and batches that wait in the inbox, at most {ENTRIES_MAX}."
)
REFUSED = gauge(
    f"{NAMESPACE}_inbox_refused_entries",
    f"Entries of the inbox that cannot be recorded and wait for an operator, at most {ENTRIES_MAX}.",
)
OLDEST_SECONDS = gauge(f"{NAMESPACE}_inbox_oldest_seconds", "Time since the oldest waiting entry was received, or 0.")

STATE = """
    SELECT (SELECT count(*) FROM (SELECT FROM inbox_entry WHERE refused_at IS NULL LIMIT %(entries_max)s) AS found),
           (SELECT count(*) FROM (SELECT FROM inbox_entry WHERE refused_at IS NOT NULL LIMIT %(entries_max)s) AS found),
           (SELECT min(received_at) FROM inbox_entry WHERE refused_at IS NULL),
           now()
"""
IS_THERE = "SELECT EXISTS (SELECT FROM inbox_entry)"


class InboxState(NamedTuple):
    """How many entries wait and are refused, and when the oldest that waits was received."""

    waiting: int
    refused: int
    oldest_received_at: datetime | None
    now: datetime

    @property
    def oldest_seconds(self) -> float:
        """The age of the oldest entry; 0 when none waits."""
        return 0 if self.oldest_received_at is None else (self.now - self.oldest_received_at).total_seconds()


def read_state(conn: Connection) -> InboxState:
    """Return the state of the inbox."""
    [state] = fetch_all(conn, STATE, {"entries_max": ENTRIES_MAX}, InboxState)
    return state


def oldest_waiting(settings: InboxSettings) -> datetime | None:
    """Return when the oldest entry that waits was received; None when none waits, or there is no inbox.

    Raises:
        psycopg2.Error: the inbox cannot be asked.
    """
    if settings.inbox_database_url is None:
        return None
    with closing(connect_to_inbox(settings, statement_seconds_max=_STATEMENT_SECONDS_MAX)) as conn, conn:
        return read_state(conn).oldest_received_at


def read_metrics(lease: Lease) -> StoredValues:
    """Return the values of the database of the inbox."""
    with lease.transaction() as conn:
        state = read_state(conn)
    return {(WAITING, ()): state.waiting, (REFUSED, ()): state.refused, (OLDEST_SECONDS, ()): state.oldest_seconds}


def check_usable(lease: Lease) -> None:
    """Return if an entry could be stored. Raises NotRecorded."""
    with lease.transaction() as conn:
        fetch_all(conn, IS_THERE, {}, bool)
