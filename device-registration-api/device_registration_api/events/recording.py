"""Records events and returns their outcomes: first in the fast way, then in the exact way if the fast one fails.

The fast way assumes that each event is new unless its key says otherwise. It copies all rows, and fails as a whole if
one of them is stored already or breaks a constraint. Then the exact way finds these rows.
"""

from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeAlias

import psycopg2
from pydantic import JsonValue

from contract.delivery import Columns, Outcome, OutcomeStatus
from device_registration_api.events.idempotency import (
    Claim,
    ClaimResult,
    ClaimStatus,
    Run,
    claim,
    claim_of,
    run_plainly,
    used_keys,
)
from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.rows import FactKey, Rows
from device_registration_api.events.table import EventTable
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


class Admitted(NamedTuple, Generic[Columns]):
    """The rows that may be stored, where they are among all, and why the others may not be stored."""

    rows: Rows[Columns]
    positions: Sequence[int]
    refused: Outcomes

    def outcomes(self, outcomes: Outcomes) -> Outcomes:
        """Return the outcomes among all rows; `outcomes` are those of the rows that may be stored."""
        return {self.positions[position]: outcome for position, outcome in outcomes.items()} | self.refused


def record(lease: Lease, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Outcomes:
    """Record independent events in one round trip, or in two or three when some have keys.

    Raises:
        psycopg2.DataError, psycopg2.IntegrityError: the database refused a row; nothing is stored.
    """
    results: Results = {}
    rows = table.complete(lease, rows)
    with lease.round_trips() as trips:
        if rows.keys or table.refuse is not None:
            trips.begin()
        admitted = admit(trips.run, table, rows)
        if admitted.rows.keys:
            results = claim_keys(trips.run, table, admitted.rows)
        store(trips, table, fresh(admitted.rows, results), slot)
    if table.read is None or not admitted.rows:
        return admitted.outcomes(outcomes_of(results))
    try:
        with lease.transaction() as conn:
            return admitted.outcomes(_with_rows(run_plainly(conn), table, admitted.rows, results))
    except NotRecorded as error:  # the events are recorded, but their rows cannot be read for the response
        raise OutcomeUnknown("the stored rows could not be read") from error


def record_carefully(lease: Lease, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Outcomes:
    """As `record`, but exact when rows are stored already; a row that the database refuses affects no other."""
    rows = table.complete(lease, rows)
    with lease.transaction() as conn:
        return record_isolating_bad_rows(conn, table, rows, slot)


def record_isolating_bad_rows(conn: Connection, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Outcomes:
    """Record rows, find each row that the database refuses by halving, and refuse only it. The caller owns the
    transaction.
    """
    execute(conn, "SAVEPOINT halving", {})
    try:
        outcomes = _insert(conn, table, rows, slot)
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        execute(conn, "ROLLBACK TO SAVEPOINT halving", {})
        if len(rows) == 1:
            rule = error.diag.constraint_name or error.diag.message_primary or str(error)
            if rule in table.refusals:
                return {0: table.refusals[rule]}
            return {0: Outcome(status=OutcomeStatus.REFUSED, detail=f"the database refused this event: {rule}")}
        middle = len(rows) // 2
        first = record_isolating_bad_rows(conn, table, rows.select(range(middle)), slot)
        second = record_isolating_bad_rows(conn, table, rows.select(range(middle, len(rows))), slot)
        return first | {middle + position: outcome for position, outcome in second.items()}
    execute(conn, "RELEASE SAVEPOINT halving", {})
    return outcomes


def admit(run: Run, table: EventTable[Columns], rows: Rows[Columns]) -> Admitted[Columns]:
    """Return which rows may be stored, in the transaction that will store them. Who repeats what was recorded before is
    answered as then, so a row whose key was used before is admitted.
    """
    refused = {} if table.refuse is None or not rows else table.refuse(run, rows)
    claims = {
        position: claim_of(table.kind, rows.keys[position], rows.fact_key(position))
        for position in refused
        if position in rows.keys
    }
    used = used_keys(run, list(claims.values())) if claims else set()
    repeats = {position for position, each in claims.items() if (each.project_id, each.key) in used}
    refused = {position: outcome for position, outcome in refused.items() if position not in repeats}
    if not refused:
        return Admitted(rows, range(len(rows)), {})
    positions = [position for position in range(len(rows)) if position not in refused]
    return Admitted(rows.select(positions), positions, refused)


def claim_keys(
    run: Run, table: EventTable[Columns], rows: Rows[Columns], others: Sequence[Claim] = ()
) -> dict[int, ClaimResult]:
    """Claim the keys of the rows that have one, and `others`, which get the positions from -1 downwards."""
    claims = [claim_of(table.kind, key, rows.fact_key(position)) for position, key in rows.keys.items()]
    positions = [*rows.keys, *(-1 - place for place in range(len(others)))]
    return dict(zip(positions, claim(run, [*claims, *others]), strict=True))


def fresh(rows: Rows[Columns], results: Results) -> Rows[Columns]:
    """Return the rows to store: those without a key, and those that own their key."""
    known = {position for position, result in results.items() if result.status is not ClaimStatus.NEW}
    return rows.select([position for position in range(len(rows)) if position not in known]) if known else rows


def store(
    trips: RoundTrips, table: EventTable[Columns], rows: Rows[Columns], slot: int, more: Sequence[bytes] = ()
) -> None:
    """Copy and count rows that are new, execute `more`, and commit."""
    if rows:
        # The counts follow the copy, so that other writers of the slot wait only for the counts and the commit.
        presences = table.new_presences(rows)
        counts = table.counts(trips.conn, rows, presences, slot)
        trips.copy_and_commit(table.copy(trips.conn), table.copy_data(rows), [*counts, *more])
        table.remember(presences)
    elif more:
        trips.commit(more)


def outcomes_of(results: Results) -> Outcomes:
    """Return the outcomes of the rows, provided that the new rows are stored."""
    found = ((position, _OUTCOMES[result.status]) for position, result in results.items() if position >= 0)
    return {position: outcome for position, outcome in found if outcome is not RECORDED}


def _insert(conn: Connection, table: EventTable[Columns], rows: Rows[Columns], slot: int) -> Outcomes:
    run = run_plainly(conn)
    admitted = admit(run, table, rows)
    rows = admitted.rows
    results = claim_keys(run, table, rows) if rows.keys else {}
    new = fresh(rows, results)
    inserted = table.insert(conn, new) if new else []
    if inserted:
        table.grow_rollups(conn, new.select(inserted), slot)
    has_rows = table.read is not None and len(rows) > 0
    return admitted.outcomes(_with_rows(run, table, rows, results) if has_rows else outcomes_of(results))


def _with_rows(run: Run, table: EventTable[Columns], rows: Rows[Columns], results: Results) -> Outcomes:
    """Return the outcome of every row, with the stored row; for a replay, the row that the first request stored."""
    assert table.read is not None  # noqa: S101 - asked by the callers
    outcomes = outcomes_of(results)
    owners: dict[int, FactKey] = {
        position: (results[position].owner if position in results else None) or rows.fact_key(position)
        for position in range(len(rows))
        if position not in outcomes or outcomes[position].status is OutcomeStatus.REPLAYED
    }
    keys = [key._asdict() for key in owners.values()]
    stored: dict[str, JsonValue] = dict(run(table.read, {"keys": as_json(keys)}))
    for position, key in owners.items():
        row = stored.get(key.event_id)
        outcomes[position] = (
            _ERASED if row is None else outcomes.get(position, RECORDED).model_copy(update={"row": row})
        )
    return outcomes
