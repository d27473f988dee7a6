"""Records events that another system recorded before, with their own times.

An event's id is made of what that system calls it, so an event that is imported again finds itself in the table.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Generic, NamedTuple

from psycopg2 import sql

from contract.delivery import Columns, Outcome, OutcomeStatus
from device_registration_api.events.recording import (
    Outcomes,
    admit,
    record_isolating_bad_rows,
    store,
    store_encoded,
)
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import Encoded, EventTable, key_arrays
from servicekit.database import Connection
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

STORED = Outcome(status=OutcomeStatus.REPLAYED, detail="imported before")

# One row at a time, by LIMIT: a join would be planned as a scan of the table while it has no statistics.
FIND_STORED = sql.SQL("""
    SELECT key.place::int - 1
      FROM unnest(%(project_ids)s::int[], %(received_at)s::timestamptz[], %(event_ids)s::uuid[])
           WITH ORDINALITY AS key(of_project, at, id, place)
     CROSS JOIN LATERAL (
           SELECT FROM {fact} WHERE project_id = key.of_project AND received_at = key.at AND event_id = key.id
            LIMIT 1) AS found
""")


class Completed(NamedTuple, Generic[Columns]):
    """Rows with all values that are stored; and what stores them if each is new, unless that is made when it is."""

    rows: Rows[Columns]
    encoded: Encoded | None


def record_imported(
    lease: Lease,
    table: EventTable[Columns],
    completed: Completed[Columns],
    slot: int,
    *,
    now: datetime,
    is_repeat: bool,
) -> Outcomes:
    """Record events in one transaction, and return the outcomes of those that were not recorded by it.

    No two of the rows have one key. `is_repeat` says that they may be stored already: then they are looked for first.
    A bucket that `maintain` would delete at `now` is not counted.

    Raises:
        NotRecorded: none of them is stored.
        OutcomeUnknown: it is unknown whether they are stored; a repeat finds out.
    """
    new = partial(_record_new, table=table, completed=completed, slot=slot, now=now)
    missing = partial(_record_missing, table=table, rows=completed.rows, slot=slot, now=now)
    return repeat_until_known(lease, missing) if is_repeat else repeat_until_known(lease, new, missing)


def find_stored(conn: Connection, table: EventTable[Columns], rows: Rows[Columns]) -> list[int]:
    """Return the positions of the rows that are stored already."""
    if not rows:
        return []
    statement = FIND_STORED.format(fact=sql.Identifier(table.fact))
    return fetch_all(conn, statement, key_arrays(rows.fact_keys()), int)


def _record_new(
    lease: Lease, table: EventTable[Columns], completed: Completed[Columns], slot: int, now: datetime
) -> Outcomes:
    """Copy the rows; fail as a whole if one of them is stored already or breaks a constraint."""
    with lease.round_trips() as trips:
        trips.begin()
        admitted = admit(trips.run, table, completed.rows)
        if admitted.refused or completed.encoded is None:
            store(trips, table, admitted.rows, slot, now=now)
        else:
            store_encoded(trips, table, completed.encoded)
        return admitted.refused


def _record_missing(
    lease: Lease, table: EventTable[Columns], rows: Rows[Columns], slot: int, now: datetime
) -> Outcomes:
    """Record the rows that are not stored; a row that the database refuses affects no other."""
    with lease.transaction() as conn:
        stored = find_stored(conn, table, rows)
        outcomes = dict.fromkeys(stored, STORED)
        places = _others(len(rows), stored)
        if places:
            found = record_isolating_bad_rows(conn, table, rows.select(places), slot, now)
            outcomes |= {places[position]: outcome for position, outcome in found.items()}
        return outcomes


def _others(length: int, positions: Sequence[int]) -> list[int]:
    known = set(positions)
    return [position for position in range(length) if position not in known]
