"""What the inbox stores: one entry for each event, and one for each client's batch, with everything to record it by."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from contract.delivery import Batch, Columns, Forward, select_sparse
from device_registration_api.events.batches import claim_of_batch
from device_registration_api.events.idempotency import Claim, claim_of
from device_registration_api.events.rows import FactKey
from device_registration_api.events.table import EventTable


class Entry(NamedTuple):
    """An event, or a batch of `event_count` events, as it waits; `claim` is that of its client's key, if it has one."""

    kind: str
    is_batch: bool
    project_id: int
    event_id: str
    received_at: datetime
    event_count: int
    claim: Claim | None
    # The Forward of this event alone, or the Batch, as JSON.
    envelope: str


def entries_of(table: EventTable[Columns], forward: Forward[Columns], positions: Sequence[int]) -> Iterator[Entry]:
    """Yield the entries of some of the events of a forward."""
    for position in positions:
        fact = FactKey(forward.project_ids[position], forward.received_at[position], forward.event_ids[position])
        key = forward.keys.get(position)
        claim = None if key is None else claim_of(table.kind, key, fact)
        envelope = _encoded(forward.select([position]))
        yield Entry(table.kind, False, fact.project_id, fact.event_id, fact.received_at, 1, claim, envelope)


def entry_of_batch(table: EventTable[Columns], batch: Batch[Columns]) -> Entry:
    """Return the entry of a client's batch."""
    return Entry(
        table.kind,
        True,
        batch.project_id,
        batch.batch_id,
        batch.received_at,
        len(batch.columns),
        claim_of_batch(table, batch),
        _encoded(batch),
    )


def entry_of_item(table: EventTable[Columns], batch: Batch[Columns], position: int) -> Entry:
    """Return the entry of one event of a batch, as if it had been sent alone."""
    alone = table.forward_model.model_construct(
        columns=batch.columns.select([position]),
        project_ids=[batch.project_id],
        event_ids=[batch.event_id(position)],
        received_at=[batch.received_at],
        occurred_at=select_sparse(batch.occurred_at, [position]),
        keys=select_sparse(batch.keys, [position]),
    )
    [entry] = entries_of(table, alone, [0])
    return entry


def _encoded(envelope: Forward[Any] | Batch[Any]) -> str:
    # The columns are those that have arrived, which may be of a subclass of the envelope's own.
    return envelope.model_dump_json(serialize_as_any=True, exclude_defaults=True)
