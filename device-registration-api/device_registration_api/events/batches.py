"""Records a client's batch in one transaction. If the batch has its own key, its response is stored with it."""

from collections.abc import Mapping
from typing import NamedTuple

from contract.delivery import (
    Batch,
    BatchResponse,
    BatchResult,
    Columns,
    ForwardedBatchResponse,
    OutcomeStatus,
)
from device_registration_api.events import dropped
from device_registration_api.events.idempotency import (
    STORE_RESPONSE,
    Claim,
    ClaimResult,
    ClaimStatus,
    claim,
    claim_of,
    response_parameters,
    run_plainly,
)
from device_registration_api.events.recording import (
    KEY_REUSED,
    Outcomes,
    admit,
    claim_keys,
    fresh,
    record_isolating_bad_rows,
    store,
)
from device_registration_api.events.rows import FactKey, Rows
from device_registration_api.events.table import EventTable
from servicekit.database.lease import Lease
from servicekit.database.prepared import Prepared
from servicekit.errors import IdempotencyKeyReused


class BatchRecorded(NamedTuple):
    """What the client of a batch gets, and the outcomes of its events but recorded; none of a stored response."""

    answer: ForwardedBatchResponse
    outcomes: Outcomes


_OWN = -1  # the position of the batch's own key among the results of `claim_keys`


def record_batch(lease: Lease, table: EventTable[Columns], batch: Batch[Columns], slot: int) -> BatchRecorded:
    """Record a batch in one round trip, or in two or three when there are keys.

    Raises:
        IdempotencyKeyReused: the batch's own key was used before with another body.
        psycopg2.DataError, psycopg2.IntegrityError: the database refused a row; nothing is stored.
    """
    rows = table.complete(lease, Rows.of_batch(batch))
    results: dict[int, ClaimResult] = {}
    own = claim_of_batch(table, batch)
    with lease.round_trips() as trips:
        if own is not None or rows.keys or table.refuse is not None:
            trips.begin()
        admitted = admit(trips.run, table, rows)
        if own is not None or admitted.rows.keys:
            results = claim_keys(trips.run, table, admitted.rows, [] if own is None else [own])
        if own is not None and (stored := _stored_response(results[_OWN])) is not None:
            return BatchRecorded(stored, {})  # the claims of the items are rolled back
        outcomes = admitted.outcomes(results)
        response = _response(batch, outcomes)
        more = [
            statement.execute(trips.conn, parameters)
            for statement, parameters in _statements_of_batch(table, batch, own, response)
        ]
        store(trips, table, fresh(admitted.rows, results), slot, more)
    return BatchRecorded(ForwardedBatchResponse(response=response), outcomes)


def record_batch_carefully(lease: Lease, table: EventTable[Columns], batch: Batch[Columns], slot: int) -> BatchRecorded:
    """As `record_batch`, but exact when rows are stored already; a row that the database refuses affects no other."""
    rows = table.complete(lease, Rows.of_batch(batch))
    with lease.transaction() as conn:
        run = run_plainly(conn)
        own = claim_of_batch(table, batch)
        if own is not None and (stored := _stored_response(claim(run, [own])[0])) is not None:
            return BatchRecorded(stored, {})
        outcomes = record_isolating_bad_rows(conn, table, rows, slot) if rows else {}
        response = _response(batch, outcomes)
        for statement, parameters in _statements_of_batch(table, batch, own, response):
            run(statement, parameters)
    return BatchRecorded(ForwardedBatchResponse(response=response), outcomes)


def claim_of_batch(table: EventTable[Columns], batch: Batch[Columns]) -> Claim | None:
    """Return the claim of a batch's own key. Its kind differs from the kind of the events, so keys never collide."""
    key = dropped.key_of(batch)
    if key is None:
        return None
    kind = f"{table.kind}/batch" if batch.key is not None else f"{table.kind}/dropped"
    return claim_of(kind, key, FactKey(batch.project_id, batch.received_at, batch.batch_id))


def _statements_of_batch(
    table: EventTable[Columns], batch: Batch[Columns], own: Claim | None, response: BatchResponse
) -> list[tuple[Prepared, Mapping[str, object]]]:
    """Return what is stored once for a batch, beside its events."""
    statements: list[tuple[Prepared, Mapping[str, object]]] = []
    if batch.dropped:
        statements.append((table.count_dropped, dropped.parameters(table.kind, batch)))
    if own is not None:
        statements.append((STORE_RESPONSE, response_parameters(own, response.model_dump_json(by_alias=True))))
    return statements


def _stored_response(result: ClaimResult) -> ForwardedBatchResponse | None:
    """Return the response to the batch that owns the key, if this batch is not the first one under it.

    Raises:
        IdempotencyKeyReused: the key was used for another batch.
    """
    if result.status is ClaimStatus.CONFLICT or (result.status is ClaimStatus.REPLAY and result.response is None):
        raise IdempotencyKeyReused(KEY_REUSED)
    if result.response is None:
        return None
    response = BatchResponse.model_validate_json(result.response)
    return ForwardedBatchResponse(response=response, replayed=result.status is ClaimStatus.REPLAY)


def _response(batch: Batch[Columns], outcomes: Outcomes) -> BatchResponse:
    results = list(batch.rejected)
    duplicate = 0
    not_recorded = {
        position: outcome for position, outcome in outcomes.items() if outcome.status is not OutcomeStatus.RECORDED
    }
    indexes = batch.indexes() if not_recorded else []
    for position, outcome in not_recorded.items():
        if outcome.status is OutcomeStatus.REPLAYED:
            duplicate += 1
            results.append(BatchResult(index=indexes[position], status="duplicate", detail=outcome.detail))
        else:
            results.append(BatchResult(index=indexes[position], status="rejected", detail=outcome.detail))
    results.sort(key=lambda result: result.index)
    return BatchResponse(
        registered=len(batch.columns) - len(not_recorded),
        duplicate=duplicate,
        rejected=len(results) - duplicate,
        results=results,
    )
