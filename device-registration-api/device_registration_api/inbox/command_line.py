"""The command of the inbox, for the operator of the installation: what waits, and what was refused."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from typing import NamedTuple

from device_registration_api.inbox.connect import connect_to_inbox
from device_registration_api.inbox.settings import InboxSettings
from device_registration_api.inbox.state import read_state
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

LISTED_MAX = 100
_STATEMENT_SECONDS_MAX = 60

LIST_REFUSED = """
    SELECT entry_id, kind, project_id, event_id::text, received_at, event_count, refusal
      FROM inbox_entry
     WHERE refused_at IS NOT NULL AND (%(entry_id)s::bigint IS NULL OR entry_id = %(entry_id)s)
     ORDER BY entry_id
     LIMIT %(listed_max)s
"""
# Of several entries under one key only the oldest waits again, and none beside one that waits.
RETRY = """
    UPDATE inbox_entry AS entry
       SET refused_at = NULL, refusal = NULL
     WHERE refused_at IS NOT NULL AND (%(entry_id)s::bigint IS NULL OR entry_id = %(entry_id)s)
       AND NOT EXISTS (SELECT FROM inbox_entry AS other
                        WHERE other.project_id = entry.project_id AND other.identity = entry.identity
                          AND (other.refused_at IS NULL OR other.entry_id < entry.entry_id))
"""
DISCARD = """
    DELETE FROM inbox_entry
     WHERE refused_at IS NOT NULL AND (%(entry_id)s::bigint IS NULL OR entry_id = %(entry_id)s)
"""

Command = Callable[[argparse.Namespace], bool]


class _Refused(NamedTuple):
    entry_id: int
    kind: str
    project_id: int
    event_id: str
    received_at: datetime
    events: int
    refusal: str


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], settings: str) -> None:
    """Add the command to the private service's command line; `settings` are those that it reads."""
    added = add("inbox", _inbox, f"print what waits in the inbox, and what was refused (reads {settings})")
    chosen = added.add_mutually_exclusive_group()
    chosen.add_argument("--retry", action="store_true", help="try again to record what was refused")
    chosen.add_argument("--discard", action="store_true", help="delete what was refused, for good")
    added.add_argument("--entry", type=int, metavar="NUMBER", help="only the refused entry with this number")


def _inbox(chosen: argparse.Namespace) -> bool:
    """Return whether nothing is refused."""
    with closing(connect_to_inbox(InboxSettings(), statement_seconds_max=_STATEMENT_SECONDS_MAX)) as conn:
        asked = {"entry_id": chosen.entry}
        if chosen.retry:
            with conn:
                print(f"{execute(conn, RETRY, asked)} entries wait again")
        if chosen.discard:
            with conn:
                print(f"{execute(conn, DISCARD, asked)} entries deleted")
        with conn:
            lines = list(_lines(conn, chosen.entry))
            refused = read_state(conn).refused
    print("\n".join(lines))
    return refused == 0


def _lines(conn: Connection, entry_id: int | None) -> Iterator[str]:
    state = read_state(conn)
    oldest = "" if state.oldest_received_at is None else f", the oldest since {state.oldest_received_at}"
    yield f"{state.waiting} entries wait{oldest}; {state.refused} are refused"
    for each in fetch_all(conn, LIST_REFUSED, {"entry_id": entry_id, "listed_max": LISTED_MAX}, _Refused):
        yield (
            f"entry {each.entry_id}: {each.events} of {each.kind}, project {each.project_id}, id {each.event_id}, "
            f"received {each.received_at}: {each.refusal}"
        )
