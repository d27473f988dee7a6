"""Adds up what clients dropped before it reached us, once for each batch. Callers own the transaction."""

from typing import Any

from contract.delivery import Batch, IdempotencyKey
from servicekit.database.prepared import Prepared


def count_dropped(kind: str) -> Prepared:
    """Return the statement of one kind. Kinds are constants."""
    return Prepared(
        f"count_dropped_{kind}",
        """
        INSERT INTO dropped_event AS d (project_id, kind, bucket_start, dropped_count)
        VALUES ({project_id}, {kind}, date_bin('15 minutes', {received_at}, '2000-01-01 00:00:00+00'), {dropped})
            ON CONFLICT (project_id, kind, bucket_start)
            DO UPDATE SET dropped_count = d.dropped_count + excluded.dropped_count
        """,
        {"project_id": "int4", "kind": "text", "received_at": "timestamptz", "dropped": "int8"},
    )


def parameters(kind: str, batch: Batch[Any]) -> dict[str, object]:
    """The values of the statement."""
    return {
        "project_id": batch.project_id,
        "kind": kind,
        "received_at": batch.received_at,
        "dropped": batch.dropped,
    }


def key_of(batch: Batch[Any]) -> IdempotencyKey | None:
    """Return the batch's own key. One without a key that tells of dropped events is claimed by its id, which is the
    same in our own retries, so that these are not added twice.
    """
    if batch.key is not None or not batch.dropped:
        return batch.key
    return IdempotencyKey(key=batch.batch_id, fingerprint="0" * 64)
