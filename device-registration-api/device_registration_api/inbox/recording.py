"""Records entries of the inbox in the first database. A repeat finds what is there already, so it is exact."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from pydantic import ValidationError

from contract.delivery import Batch, Columns, Forward, Outcome, OutcomeStatus
from device_registration_api.events.batches import record_batch, record_batch_carefully
from device_registration_api.events.idempotency import run_plainly
from device_registration_api.events.recording import RECORDED, record, record_carefully
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from device_registration_api.inbox.entries import Entry, entry_of_item
from servicekit.database.commit import repeat_until_known
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all
from servicekit.errors import IdempotencyKeyReused

# The projects that are there, and since when all facts of each are: the beginning of the oldest week that is not
# retired, or of the project's own retention, with an hour in hand.
PROJECTS = """
    SELECT project_id,
           greatest((SELECT min(to_date(right(relname, 8), 'YYYYMMDD'))::timestamptz
                       FROM pg_inherits
                       JOIN pg_class ON pg_class.oid = inhrelid
                      WHERE inhparent = to_regclass(format('public.%%I', %(fact)s)) AND relname ~ '_[0-9]{8}$'),
                    now() - greatest(retention_days, 3) * interval '1 day' + interval '1 hour')
      FROM project
     WHERE deleted_at IS NULL AND project_id = ANY(%(project_ids)s)
"""

_RETIRED = "events of that time are not kept any more, so it cannot be known whether this one was recorded before"
_UNREADABLE = "this release cannot read it"


class Fate(StrEnum):
    """What becomes of an event that waited."""

    RECORDED = "recorded"
    # It was recorded before, under its id or under its client's key.
    REPLAYED = "replayed"
    # It may not be recorded: its person was erased or suppressed, or its device or its project was deleted.
    DROPPED = "dropped"
    # It stays in the inbox, for an operator.
    REFUSED = "refused"


_FATES = {
    OutcomeStatus.RECORDED: Fate.RECORDED,
    OutcomeStatus.REPLAYED: Fate.REPLAYED,
    OutcomeStatus.ERASED: Fate.DROPPED,
    OutcomeStatus.SUPPRESSED: Fate.DROPPED,
    OutcomeStatus.NOT_FOUND: Fate.DROPPED,
}


class Waiting(NamedTuple):
    """An entry as it is read: its number, and what it says."""

    entry_id: int
    kind: str
    is_batch: bool
    project_id: int
    received_at: datetime
    event_count: int
    envelope: str


@dataclass(slots=True)
class Verdict:
    """What becomes of the events of one entry."""

    entry_id: int
    kind: str
    fates: Counter[Fate] = field(default_factory=Counter)
    # Why the entry stays; without a reason, it leaves.
    refusal: str | None = None
    # The events of a batch that stay as entries of their own, and why.
    refused_items: list[tuple[Entry, str]] = field(default_factory=list)


def record_events(lease: Lease, table: EventTable[Columns], waiting: Sequence[Waiting], slot: int) -> list[Verdict]:
    """Record the events of entries that are no batches, in one transaction.

    Raises:
        NotRecorded, OutcomeUnknown: the first database cannot be used; the entries stay as they are.
    """
    verdicts, possible = _judge(lease, table, waiting)
    readable: list[tuple[Verdict, Forward[Columns]]] = []
    for verdict, entry in possible:
        try:
            readable.append((verdict, table.arrived_forward_model.model_validate_json(entry.envelope, strict=True)))
        except ValidationError as error:
            _refuse(verdict, entry, _unreadable(error))
    if readable:
        rows = Rows.of_forwards([forward for _, forward in readable])
        outcomes, _ = repeat_until_known(
            lease,
            partial(record, table=table, rows=rows, slot=slot),
            partial(record_carefully, table=table, rows=rows, slot=slot),
        )
        for position, (verdict, _) in enumerate(readable):
            outcome = outcomes.get(position, RECORDED)
            fate = _fate_of(outcome)
            verdict.fates[fate] += 1
            verdict.refusal = outcome.detail if fate is Fate.REFUSED else None
    return verdicts


def record_waiting_batch(lease: Lease, table: EventTable[Columns], waiting: Waiting, slot: int) -> Verdict:
    """Record a client's batch. Its response is stored, for repeats under its key. Raises as `record_events`."""
    [verdict], possible = _judge(lease, table, [waiting])
    if verdict.fates[Fate.DROPPED]:
        return verdict
    try:
        batch = table.arrived_batch_model.model_validate_json(waiting.envelope, strict=True)
        if not possible:
            return _refuse_items(verdict, table, batch)
        recorded = repeat_until_known(
            lease,
            partial(record_batch, table=table, batch=batch, slot=slot),
            partial(record_batch_carefully, table=table, batch=batch, slot=slot),
        )
    except ValidationError as error:
        _refuse(verdict, waiting, _unreadable(error))
        return verdict
    except IdempotencyKeyReused as error:
        verdict.refusal = str(error)
        return _refuse_items(verdict, table, batch)
    if recorded.answer.replayed:
        verdict.fates[Fate.REPLAYED] = waiting.event_count
        return verdict
    for position, outcome in recorded.outcomes.items():
        fate = _fate_of(outcome)
        verdict.fates[fate] += 1
        if fate is Fate.REFUSED:
            verdict.refused_items.append((entry_of_item(table, batch, position), outcome.detail))
    verdict.fates[Fate.RECORDED] += waiting.event_count - len(recorded.outcomes)
    return verdict


def forbidden(lease: Lease, table: EventTable[Columns], refused: Sequence[Waiting]) -> list[Verdict]:
    """Return verdicts for those of the refused entries whose events may not be recorded, and so not be kept, any more:
    their project was deleted, or what they refer to was.
    """
    verdicts, _ = _judge(lease, table, refused)
    gone = [verdict for verdict in verdicts if verdict.fates[Fate.DROPPED]]
    if table.refuse is None:
        return gone
    there = [entry for verdict, entry in zip(verdicts, refused, strict=True) if not verdict.fates[Fate.DROPPED]]
    readable = [(entry, forward) for entry in there if (forward := _readable(table, entry)) is not None]
    if readable:
        rows = Rows.of_forwards([forward for _, forward in readable])
        with lease.transaction() as conn:
            outcomes = table.refuse(run_plainly(conn), rows)
        for position, outcome in outcomes.items():
            if _fate_of(outcome) is Fate.DROPPED:
                entry, _ = readable[position]
                gone.append(Verdict(entry.entry_id, entry.kind, Counter({Fate.DROPPED: entry.event_count})))
    return gone


def _readable(table: EventTable[Columns], entry: Waiting) -> Forward[Columns] | None:
    try:
        return table.arrived_forward_model.model_validate_json(entry.envelope, strict=True)
    except ValidationError:
        return None


def _judge(
    lease: Lease, table: EventTable[Any], waiting: Sequence[Waiting]
) -> tuple[list[Verdict], list[tuple[Verdict, Waiting]]]:
    """Return a verdict for each entry, and those entries that may be recorded, with theirs."""
    asked = {"fact": table.fact, "project_ids": sorted({entry.project_id for entry in waiting})}
    with lease.transaction() as conn:
        kept_since: dict[int, datetime | None] = dict(fetch_all(conn, PROJECTS, asked, lambda *row: row))
    verdicts = [Verdict(entry.entry_id, entry.kind) for entry in waiting]
    possible = []
    for verdict, entry in zip(verdicts, waiting, strict=True):
        since = kept_since.get(entry.project_id)
        if entry.project_id not in kept_since:
            verdict.fates[Fate.DROPPED] = entry.event_count
        elif since is not None and entry.received_at < since:
            _refuse(verdict, entry, _RETIRED)
        else:
            possible.append((verdict, entry))
    return verdicts, possible


def _refuse_items(verdict: Verdict, table: EventTable[Columns], batch: Batch[Columns]) -> Verdict:
    """Let each event of a refused batch stay alone, because each may be of somebody else."""
    reason, verdict.refusal = verdict.refusal or "", None
    verdict.fates[Fate.REFUSED] = len(batch.columns)
    verdict.refused_items = [(entry_of_item(table, batch, place), reason) for place in range(len(batch.columns))]
    return verdict


def _refuse(verdict: Verdict, entry: Waiting, reason: str) -> None:
    verdict.fates[Fate.REFUSED] = entry.event_count
    verdict.refusal = reason


def _fate_of(outcome: Outcome) -> Fate:
    return _FATES.get(outcome.status, Fate.REFUSED)


def _unreadable(error: ValidationError) -> str:
    """Return the reason without any value of the client."""
    places = {".".join(map(str, each["loc"])) for each in error.errors(include_url=False, include_input=False)}
    return f"{_UNREADABLE}: {', '.join(sorted(places))}"
