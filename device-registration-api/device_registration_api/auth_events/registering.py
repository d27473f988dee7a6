"""From registrations to outcomes, inside one transaction that the caller owns."""

from collections.abc import Mapping, Sequence

import psycopg2

from contract.delivery import BatchResponse, BatchResult
from contract.registrations import ForwardedBatch, ForwardedBatchResponse, Outcome, OutcomeStatus, Registration
from device_registration_api import idempotency
from device_registration_api.auth_events import commands
from device_registration_api.idempotency import Claim, ClaimStatus
from servicekit.database import Connection
from servicekit.database.sql import execute
from servicekit.errors import IdempotencyKeyReused

KEY_REUSED = "this idempotency key was used before with another body"
_REGISTERED = Outcome(status=OutcomeStatus.REGISTERED)
_OUTCOMES = {
    ClaimStatus.NEW: _REGISTERED,
    ClaimStatus.REPLAY: Outcome(status=OutcomeStatus.REPLAYED, detail="recorded before under this identity"),
    ClaimStatus.CONFLICT: Outcome(status=OutcomeStatus.CONFLICT, detail=KEY_REUSED),
}


def register(conn: Connection, registrations: Sequence[Registration], slot: int) -> list[Outcome]:
    """Claim identities, then record whatever is not a replay or a conflict; one outcome each, in order.

    Raises:
        psycopg2.DataError, psycopg2.IntegrityError: the database refused a row; nothing can be said of the others.
    """
    outcomes = _outcomes_of_identities(conn, registrations)
    accepted = [each for each, outcome in zip(registrations, outcomes, strict=True) if outcome is _REGISTERED]
    commands.count(conn, commands.record(conn, accepted) if accepted else [], slot)
    return outcomes


def register_carefully(conn: Connection, registrations: Sequence[Registration], slot: int) -> list[Outcome]:
    """As `register`, but a row that the database refuses is found by halving, and refused alone."""
    execute(conn, "SAVEPOINT halving", {})
    try:
        outcomes = register(conn, registrations, slot)
    except (psycopg2.DataError, psycopg2.IntegrityError) as error:
        execute(conn, "ROLLBACK TO SAVEPOINT halving", {})
        if len(registrations) == 1:
            rule = error.diag.constraint_name or error.diag.message_primary
            return [Outcome(status=OutcomeStatus.REFUSED, detail=f"the database refused this event: {rule}")]
        middle = len(registrations) // 2
        return register_carefully(conn, registrations[:middle], slot) + register_carefully(
            conn, registrations[middle:], slot
        )
    execute(conn, "RELEASE SAVEPOINT halving", {})
    return outcomes


def register_batch(conn: Connection, batch: ForwardedBatch, slot: int, *, carefully: bool) -> ForwardedBatchResponse:
    """Register one client's batch and, if it has an identity, keep the answer for its repeats.

    At first every event is taken to be new, which is fast and fails as a whole when one is not, or breaks a rule
    of the database. Then `carefully` finds out which.

    Raises:
        IdempotencyKeyReused: the batch's own key was used before with another body.
        psycopg2.DataError, psycopg2.IntegrityError: to be repeated carefully.
    """
    if batch.identity is not None:
        claim = Claim(
            batch.project_id,
            batch.identity.key,
            batch.identity.body_sha256,
            batch.batch_id,
            batch.received_at.isoformat(),
        )
        (result,) = idempotency.claim(conn, [claim])
        if result.status is ClaimStatus.CONFLICT or (result.status is ClaimStatus.REPLAY and result.answer is None):
            raise IdempotencyKeyReused(KEY_REUSED)
        if result.answer is not None:
            return ForwardedBatchResponse(answer=result.answer, replayed=result.status is ClaimStatus.REPLAY)
    if carefully:
        registrations = [batch.row(row) for row in range(len(batch.user_keys))]
        outcomes = register_carefully(conn, registrations, slot) if registrations else []
        others = {row: outcome for row, outcome in enumerate(outcomes) if outcome is not _REGISTERED}
    else:
        others = _register_fresh(conn, batch, slot)
    answer = _answer(batch, others)
    if batch.identity is not None:
        idempotency.store_response(conn, batch.project_id, batch.identity.key, answer)
    return ForwardedBatchResponse(answer=answer)


def _register_fresh(conn: Connection, batch: ForwardedBatch, slot: int) -> dict[int, Outcome]:
    """The outcomes of the rows that were not registered."""
    keyed = sorted(batch.identities)
    outcomes = _outcomes_of_identities(conn, [batch.row(row) for row in keyed])
    others = {row: outcome for row, outcome in zip(keyed, outcomes, strict=True) if outcome is not _REGISTERED}
    commands.count(conn, commands.copy(conn, batch, others.keys()), slot)
    return others


def _outcomes_of_identities(conn: Connection, registrations: Sequence[Registration]) -> list[Outcome]:
    """Claim every identity there is. Whoever has none, and whoever was first, is to be recorded."""
    keyed = [each for each in registrations if each.identity is not None]
    if not keyed:
        return [_REGISTERED] * len(registrations)
    results = idempotency.claim(conn, [_claim_of(each) for each in keyed])
    outcomes = {each.event_id: _OUTCOMES[result.status] for each, result in zip(keyed, results, strict=True)}
    return [outcomes.get(each.event_id, _REGISTERED) for each in registrations]


def _answer(batch: ForwardedBatch, others: Mapping[int, Outcome]) -> BatchResponse:
    results = list(batch.rejected)
    duplicate = 0
    positions = batch.positions() if others else []
    for row, outcome in others.items():
        if outcome.status is OutcomeStatus.REPLAYED:
            duplicate += 1
            results.append(BatchResult(index=positions[row], status="duplicate", detail=outcome.detail))
        else:
            results.append(BatchResult(index=positions[row], status="rejected", detail=outcome.detail))
    results.sort(key=lambda result: result.index)
    return BatchResponse(
        registered=len(batch.user_keys) - len(others),
        duplicate=duplicate,
        rejected=len(results) - duplicate,
        results=results,
    )


def _claim_of(registration: Registration) -> Claim:
    identity = registration.identity
    assert identity is not None  # noqa: S101 - the caller chose those that have one
    return Claim(
        registration.project_id,
        identity.key,
        identity.body_sha256,
        registration.event_id,
        registration.received_at.isoformat(),
    )
