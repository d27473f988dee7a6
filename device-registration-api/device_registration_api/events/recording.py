"""Records events and returns their outcomes: first in the fast way, then in the exact way if the fast one fails.

The fast way assumes that each event is new unless its key says otherwise. It copies all rows, and fails as a whole if
one of them is stored already or breaks a constraint. Then the exact way finds these rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeAlias

import psycopg2

from contract.delivery import Columns, Outcome, OutcomeStatus
from device_registration_api.citus.errors import constraint_name
from device_registration_api.events.idempotency import (
    Claim,
    ClaimResult,
    ClaimStatus,
    Run,
    claim,
    claim_of,
    run_plainly,
    stored_owners,
)
from device_registration_api.events.rows import FactKey, Rows
from device_registration_api.events.table import Encoded, EventTable
from servicekit.database import Connection
from servicekit.database.lease import Lease
from servicekit.database.round_trips import RoundTrips
from servicekit.database.sql import execute
from servicekit.errors import NotRecorded, OutcomeUnknown

KEY_REUSED = "this idempotency key was used before with another body"
RECORDED = Outcome(status=OutcomeStatus.RECORDED)
_ERASED = Outcome(status=OutcomeStatus.ERASED, detail="the event was recorded before, and its data was erased")
_OUTCOMES = {
    ClaimStatus.NEW: RECORDED,
    ClaimStatus.OWN: RECORDED,
    ClaimStatus.REPLAY: Outcome(status=OutcomeStatus.REPLAYED, detail="recorded before under this identity"),
    ClaimStatus.CONFLICT: Outcome(status=OutcomeStatus.CONFLICT, detail=KEY_REUSED),
}

# Every outcome other than plainly recorded, by the position of the row.
Outcomes: TypeAlias = dict[int, Outcome]
# The result of each claim, by the position of the row. Rows without a key have none.
Results: TypeAlias = Mapping[int, ClaimResult]


class Recorded(NamedTuple):
    """The outcomes; and the stored rows as JSON, by position, of a kind that returns rows to its clients."""

    outcomes: Outcomes
    rows: Mapping[int, bytes]


class Admitted(NamedTuple, Generic[Columns]):
    """The rows that may be stored, where they are among all, and why the others may not be stored."""

    rows: Rows[Columns]
    positions: Sequence[int]
    refused: Outcomes

    def outcomes(self, results: Results) -> Outcomes:
        """Return the outcomes among all rows, provided that the new rows are stored."""
        return {self.positions[position]: outcome for position, outcome in _outcomes_of(results).items()} | self.refused

    def owners(self, results: Results) -> dict[int, FactKey]:
        """Return the fact that each replay repeats, by its position among all rows."""
        return {
            self.positions[position]: result.owner
            for position, result in results.items()
            if position >= 0 and result.status is ClaimStatus.REPLAY and result.owner is not None
        }


def record(lease: Lease, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Recorded:
    """Record independent events in one round trip, or in up to four: when some have keys, and when rows are returned.

    Raises:
        psycopg2.DataError, psycopg2.IntegrityError: the database refused a row; nothing is stored.
    """
    results: Results = {}
    rows = table.complete(lease, rows)
    is_stored = False
    try:
        with lease.round_trips() as trips:
            if rows.keys or table.refuse is not None:
                trips.begin()
            admitted = admit(trips.run, table, rows)
            if admitted.rows.keys:
                results = claim_keys(trips.run, table, admitted.rows)
            new = fresh(admitted.rows, results)
            store(trips, table, new, slot)
            is_stored = True
            written: dict[int, bytes] = {}
            if table.write is not None:
                places = _fresh_places(admitted.rows, results)
                written = dict(zip([admitted.positions[place] for place in places], table.write(new), strict=True))
            outcomes, owners = admitted.outcomes(results), admitted.owners(results)
            return _read_back(trips.conn, trips.run, table, rows, outcomes, owners, written)
    except NotRecorded as error:
        if is_stored:
            raise OutcomeUnknown("the stored rows could not be read") from error
        raise


def record_carefully(lease: Lease, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Recorded:
    """As `record`, but exact when rows are stored already; a row that the database refuses affects no other."""
    rows = table.complete(lease, rows)
    with lease.transaction() as conn:
        outcomes = record_isolating_bad_rows(conn, table, rows, slot)
        if table.read is None:
            return Recorded(outcomes, {})
        run = run_plainly(conn)
        # All rows are read: an earlier attempt may have stored some of them, with other numbers.
        return _read_back(conn, run, table, rows, outcomes, _owners_of_replays(run, table, rows, outcomes), {})


def record_isolating_bad_rows(
    conn: Connection, table: EventTable[Columns], rows: Rows[Columns], slot: int, now: datetime | None = None
) -> Outcomes:
    """Record rows, find each row that the database refuses by halving, and refuse only it. The caller owns the
    transaction. `now` as in `EventTable.encoded`.
    """
    execute(conn, "SAVEPOINT halving", {})
    try:
        outcomes = _insert(conn, table, rows, slot, now)
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        execute(conn, "ROLLBACK TO SAVEPOINT halving", {})
        if len(rows) == 1:
            rule = constraint_name(conn, table.fact, error) or error.diag.message_primary or str(error)
            if rule in table.refusals:
                return {0: table.refusals[rule]}
            return {0: Outcome(status=OutcomeStatus.REFUSED, detail=f"the database refused this event: {rule}")}
        middle = len(rows) // 2
        first = record_isolating_bad_rows(conn, table, rows.select(range(middle)), slot, now)
        second = record_isolating_bad_rows(conn, table, rows.select(range(middle, len(rows))), slot, now)
        return first | {middle + position: outcome for position, outcome in second.items()}
    execute(conn, "RELEASE SAVEPOINT halving", {})
    return outcomes


def admit(run: Run, table: EventTable[Columns], rows: Rows[Columns]) -> Admitted[Columns]:
    """Return which rows may be stored, in the transaction that will store them. Who repeats what was recorded before is
    answered as then, so a row whose key was used before is admitted.
    """
    refused = {} if table.refuse is None or not rows else table.refuse(run, rows)
    repeats = stored_owners(run, _claims(table, rows, refused)) if refused else {}
    refused = {position: outcome for position, outcome in refused.items() if position not in repeats}
    if not refused:
        return Admitted(rows, range(len(rows)), {})
    positions = [position for position in range(len(rows)) if position not in refused]
    return Admitted(rows.select(positions), positions, refused)


def claim_keys(
    run: Run, table: EventTable[Columns], rows: Rows[Columns], others: Sequence[Claim] = ()
) -> dict[int, ClaimResult]:
    """Claim the keys of the rows that have one, and `others`, which get the positions from -1 downwards."""
    claims = _claims(table, rows, rows.keys)
    positions = [*claims, *(-1 - place for place in range(len(others)))]
    return dict(zip(positions, claim(run, [*claims.values(), *others]), strict=True))


def fresh(rows: Rows[Columns], results: Results) -> Rows[Columns]:
    """Return the rows to store: those without a key, and those that own their key."""
    places = _fresh_places(rows, results)
    return rows if len(places) == len(rows) else rows.select(places)


def store(
    trips: RoundTrips,
    table: EventTable[Columns],
    rows: Rows[Columns],
    slot: int,
    more: Sequence[bytes] = (),
    now: datetime | None = None,
) -> None:
    """Copy and count rows that are new, execute `more`, and commit. `now` as in `EventTable.encoded`."""
    if rows:
        store_encoded(trips, table, table.encoded(rows, slot, now), more)
    elif more:
        trips.commit(more)


def store_encoded(trips: RoundTrips, table: EventTable[Columns], encoded: Encoded, more: Sequence[bytes] = ()) -> None:
    """As `store`, of rows that were encoded before."""
    # The counts follow the copy, so that other writers of the slot wait only for the counts and the commit.
    counts = [statement.execute(trips.conn, parameters) for statement, parameters in encoded.counts]
    trips.copy_and_commit(table.copy(trips.conn), encoded.copy_data, [*counts, *more])
    table.remember(encoded.presences)


def _fresh_places(rows: Rows[Columns], results: Results) -> Sequence[int]:
    """Return the positions of the rows that `fresh` returns."""
    known = {position for position, result in results.items() if result.status is not ClaimStatus.NEW}
    return [position for position in range(len(rows)) if position not in known] if known else range(len(rows))


def _insert(
    conn: Connection, table: EventTable[Columns], rows: Rows[Columns], slot: int, now: datetime | None
) -> Outcomes:
    run = run_plainly(conn)
    admitted = admit(run, table, rows)
    rows = admitted.rows
    results = claim_keys(run, table, rows) if rows.keys else {}
    new = fresh(rows, results)
    inserted = table.insert(conn, new) if new else []
    if inserted:
        table.grow_rollups(conn, new.select(inserted), slot, now)
    return admitted.outcomes(results)


def _claims(table: EventTable[Columns], rows: Rows[Columns], positions: Iterable[int]) -> dict[int, Claim]:
    """Return the claims of those of the rows that have a key."""
    return {
        position: claim_of(table.kind, rows.keys[position], rows.fact_key(position))
        for position in positions
        if position in rows.keys
    }


def _outcomes_of(results: Results) -> Outcomes:
    found = ((position, _OUTCOMES[result.status]) for position, result in results.items() if position >= 0)
    return {position: outcome for position, outcome in found if outcome is not RECORDED}


def _owners_of_replays(
    run: Run, table: EventTable[Columns], rows: Rows[Columns], outcomes: Outcomes
) -> Mapping[int, FactKey]:
    replays = [position for position, outcome in outcomes.items() if outcome.status is OutcomeStatus.REPLAYED]
    return stored_owners(run, _claims(table, rows, replays))


def _read_back(
    conn: Connection,
    run: Run,
    table: EventTable[Columns],
    rows: Rows[Columns],
    outcomes: Outcomes,
    owners: Mapping[int, FactKey],
    written: Mapping[int, bytes],
) -> Recorded:
    """Return the outcomes with the rows that are stored; of a replay, the row of its owner, if it was not erased.

    The rows that are not `written` are read from the database.
    """
    if table.read is None:
        return Recorded(outcomes, {})
    positions: Iterable[int] = () if len(written) == len(rows) else set(range(len(rows))) - written.keys()
    keys = {
        position: owners.get(position) or rows.fact_key(position)
        for position in positions
        if position not in outcomes or outcomes[position].status is OutcomeStatus.REPLAYED
    }
    stored = table.stored_rows(conn, run, keys.values())
    found = {
        position: table.row_text(stored[event_id]) for position, (_, _, event_id) in keys.items() if event_id in stored
    }
    return Recorded(outcomes | {position: _ERASED for position in keys if position not in found}, {**written, **found})
