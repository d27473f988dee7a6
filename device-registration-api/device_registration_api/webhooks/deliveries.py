"""The log of deliveries: stored with what they tell of, in order, and read by owners. Callers own the transaction."""

import json
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from contract.webhooks import DELIVERIES_MAX, Delivery
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import NotFound

# So long after it was made, or asked for again, a delivery that nobody takes is given up.
RETRIED_FOR = timedelta(days=3)
TEST = "webhook.test"
WEBHOOK_NOT_FOUND = "Webhook not found: the project has no webhook with this id"

# The row of the webhook is locked until the commit, so sequence numbers have the order of the commits.
NEXT_SEQUENCE = """
    UPDATE webhook
       SET last_sequence = last_sequence + 1, next_attempt_at = coalesce(next_attempt_at, %(now)s)
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
 RETURNING last_sequence
"""
INSERT = """
    INSERT INTO webhook_delivery (project_id, delivery_id, webhook_id, sequence, rule_id, type, payload, created_at,
                                  retry_until)
    VALUES (%(project_id)s, %(delivery_id)s::uuid, %(webhook_id)s::uuid, %(sequence)s, %(rule_id)s::uuid, %(type)s,
            %(payload)s, %(now)s, %(retry_until)s)
"""
# The next attempt of a webhook is that of its first pending delivery.
LIST = """
    SELECT d.delivery_id::text, d.sequence, d.type, d.rule_id::text, d.state, d.created_at, d.finished_at,
           CASE WHEN d.sequence = (
                SELECT min(p.sequence) FROM webhook_delivery AS p
                 WHERE p.project_id = d.project_id AND p.webhook_id = d.webhook_id AND p.state = 'pending')
                THEN w.next_attempt_at END,
           d.attempt_count, d.attempts, d.payload
      FROM webhook_delivery AS d
      JOIN webhook AS w USING (project_id, webhook_id)
     WHERE d.project_id = %(project_id)s AND d.webhook_id = %(webhook_id)s::uuid
       AND (%(delivery_id)s::uuid IS NULL OR d.delivery_id = %(delivery_id)s::uuid)
       AND (%(before)s::bigint IS NULL OR d.sequence < %(before)s)
     ORDER BY d.sequence DESC
     LIMIT %(limit)s
"""
# The webhook first, as everybody locks them.
DUE_NOW = """
    UPDATE webhook SET next_attempt_at = %(now)s
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
"""
AGAIN = """
    UPDATE webhook_delivery
       SET state = 'pending', finished_at = NULL, retry_until = %(retry_until)s
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid AND delivery_id = %(delivery_id)s::uuid
"""


class Message(NamedTuple):
    """What a delivery tells: its type, by the Standard Webhooks, and its data."""

    type: str
    data: dict[str, object]
    rule_id: UUID | None = None


def store_delivery(
    conn: Connection, project_id: int, project_key: str, webhook_id: UUID, message: Message, now: datetime
) -> UUID:
    """Store a delivery, as the last of its webhook, and return its id. Raises NotFound."""
    named: dict[str, object] = {"project_id": project_id, "webhook_id": str(webhook_id), "now": now}
    sequences = fetch_all(conn, NEXT_SEQUENCE, named, int)
    if not sequences:
        raise NotFound(WEBHOOK_NOT_FOUND)
    delivery_id = uuid4()
    of = {"project_key": project_key, "webhook_id": str(webhook_id), "sequence": sequences[0]}
    payload = {"type": message.type, "timestamp": now.isoformat(), "data": of | message.data}
    stored = {
        "delivery_id": str(delivery_id),
        "sequence": sequences[0],
        "rule_id": None if message.rule_id is None else str(message.rule_id),
        "type": message.type,
        "payload": json.dumps(payload, separators=(",", ":")),
        "retry_until": now + RETRIED_FOR,
    }
    execute(conn, INSERT, named | stored)
    return delivery_id


def list_deliveries(
    conn: Connection, project_id: int, webhook_id: UUID, *, before: int | None = None, limit: int = DELIVERIES_MAX
) -> list[Delivery]:
    """Return the newest deliveries of a webhook, or those before a sequence number; the newest first."""
    return _read(conn, project_id, webhook_id, delivery_id=None, before=before, limit=limit)


def read_delivery(conn: Connection, project_id: int, webhook_id: UUID, delivery_id: UUID) -> Delivery:
    """Return one delivery. Raises NotFound."""
    found = _read(conn, project_id, webhook_id, delivery_id=str(delivery_id), before=None, limit=1)
    if not found:
        raise NotFound("Delivery not found: the webhook has no delivery with this id")
    return found[0]


def redeliver(conn: Connection, project_id: int, webhook_id: UUID, delivery_id: UUID, now: datetime) -> Delivery:
    """Attempt a delivery at once and, if need be, for as long as a new one. Raises NotFound."""
    read_delivery(conn, project_id, webhook_id, delivery_id)
    named = {"project_id": project_id, "webhook_id": str(webhook_id), "delivery_id": str(delivery_id), "now": now}
    execute(conn, DUE_NOW, named)
    execute(conn, AGAIN, named | {"retry_until": now + RETRIED_FOR})
    return read_delivery(conn, project_id, webhook_id, delivery_id)


def _read(conn: Connection, project_id: int, webhook_id: UUID, **which: object) -> list[Delivery]:
    return fetch_all(conn, LIST, {"project_id": project_id, "webhook_id": str(webhook_id), **which}, _delivery)


def _delivery(*values: object) -> Delivery:
    return Delivery.model_validate(dict(zip(Delivery.model_fields, values, strict=True)))
