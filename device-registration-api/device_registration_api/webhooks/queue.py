"""Which delivery is attempted next, and what is noted of an attempt. A webhook's deliveries are attempted in order.

A process claims a webhook for a while and sends its first pending delivery; a claim that nobody ends, because the
process died, ends by itself, and the delivery is sent again with the same id.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from psycopg2.extras import Json

from contract.webhooks import DeliveryState
from device_registration_api.webhooks.sending import Outcome
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

# Longer than any attempt takes, the look-up of a name included.
CLAIMED_FOR = timedelta(seconds=90)
FIRST_PAUSE_SECONDS = 5.0
PAUSE_SECONDS_MAX = 3600.0
ATTEMPTS_KEPT = 100

GIVE_UP = """
    UPDATE webhook_delivery
       SET state = 'given_up', finished_at = %(now)s
     WHERE state = 'pending' AND retry_until <= %(now)s
"""
CLAIM = """
    UPDATE webhook AS w
       SET claimed_until = %(claimed_until)s
      FROM (SELECT due.project_id, due.webhook_id
              FROM webhook AS due
              JOIN project USING (project_id)
             WHERE due.next_attempt_at <= %(now)s AND due.is_active AND deleted_at IS NULL
               AND (due.claimed_until IS NULL OR due.claimed_until <= %(now)s)
             ORDER BY due.next_attempt_at
             LIMIT %(webhooks)s
               FOR NO KEY UPDATE OF due SKIP LOCKED) AS due
     WHERE w.project_id = due.project_id AND w.webhook_id = due.webhook_id
 RETURNING w.project_id, w.webhook_id::text, w.url
"""
FIRST = """
    SELECT delivery_id::text, payload
      FROM webhook_delivery
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid AND state = 'pending'
     ORDER BY sequence
     LIMIT 1
"""
LOCK = "SELECT 1 FROM webhook WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid FOR NO KEY UPDATE"
ATTEMPTED = """
    SELECT attempt_count, retry_until, attempts
      FROM webhook_delivery
     WHERE project_id = %(project_id)s AND delivery_id = %(delivery_id)s::uuid AND state = 'pending'
"""
NOTE = """
    UPDATE webhook_delivery
       SET state = %(state)s, finished_at = %(finished_at)s, attempt_count = attempt_count + 1,
           attempts = %(attempts)s
     WHERE project_id = %(project_id)s AND delivery_id = %(delivery_id)s::uuid
"""
# A later delivery, or one that somebody asked for again meanwhile, is attempted at once.
SCHEDULE = """
    UPDATE webhook
       SET claimed_until = NULL,
           next_attempt_at = (
               SELECT CASE WHEN delivery_id = %(delivery_id)s::uuid THEN %(next_attempt_at)s ELSE %(now)s END
                 FROM webhook_delivery
                WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid AND state = 'pending'
                ORDER BY sequence
                LIMIT 1)
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
"""


class Claimed(NamedTuple):
    """A webhook that this process alone sends to, for a while."""

    project_id: int
    webhook_id: UUID
    url: str


class Due(NamedTuple):
    """The first pending delivery of a claimed webhook."""

    webhook: Claimed
    delivery_id: UUID
    payload: str


class _Attempted(NamedTuple):
    attempt_count: int
    retry_until: datetime
    attempts: list[object]


def give_up_old(conn: Connection, now: datetime) -> int:
    """Give up what nobody took in its time, and return the number of deliveries."""
    return execute(conn, GIVE_UP, {"now": now})


def claim(conn: Connection, now: datetime, webhooks_max: int) -> list[Due]:
    """Claim webhooks that have something to send now, those that wait longest first."""
    named = {"now": now, "claimed_until": now + CLAIMED_FOR, "webhooks": webhooks_max}
    due: list[Due] = []
    for webhook in fetch_all(conn, CLAIM, named, _claimed):
        found = fetch_all(conn, FIRST, _named(webhook), _first)
        due.extend(Due(webhook, *each) for each in found)
        if not found:
            # Everything was given up, or deleted.
            schedule = {"delivery_id": None, "next_attempt_at": None, "now": now}
            execute(conn, SCHEDULE, _named(webhook) | schedule)
    return due


def note_attempt(
    conn: Connection, due: Due, at: datetime, outcome: Outcome, jitter: Callable[[], float] = random.random
) -> DeliveryState | None:
    """Note what came of an attempt that began `at`, end the claim, and plan the next one. None: it is deleted.

    `jitter` returns a number from 0 to 1: the pause is between a half and the whole of its length.
    """
    named = _named(due.webhook) | {"delivery_id": str(due.delivery_id)}
    ended = at + timedelta(milliseconds=outcome.duration_ms)
    fetch_all(conn, LOCK, named, int)
    state, next_attempt_at = None, None
    for before in fetch_all(conn, ATTEMPTED, named, _Attempted):
        next_attempt_at = ended + timedelta(seconds=pause_seconds(before.attempt_count + 1, jitter()))
        state = DeliveryState.DELIVERED if outcome.is_delivered else DeliveryState.PENDING
        if not outcome.is_delivered and next_attempt_at >= before.retry_until:
            state = DeliveryState.GIVEN_UP
        attempts = [*before.attempts, {"at": at.isoformat(), **outcome._asdict()}][-ATTEMPTS_KEPT:]
        finished_at = None if state is DeliveryState.PENDING else ended
        execute(conn, NOTE, named | {"state": state, "finished_at": finished_at, "attempts": Json(attempts)})
    execute(conn, SCHEDULE, named | {"next_attempt_at": next_attempt_at, "now": ended})
    return state


def pause_seconds(attempts: int, share: float) -> float:
    """Return the pause after so many failed attempts: it doubles, up to an hour; jitter spreads many receivers."""
    # 2 to the power of 20 is more than the longest pause already.
    whole = min(FIRST_PAUSE_SECONDS * (1 << min(attempts - 1, 20)), PAUSE_SECONDS_MAX)
    return whole * (1 + share) / 2


def _named(webhook: Claimed) -> dict[str, object]:
    return {"project_id": webhook.project_id, "webhook_id": str(webhook.webhook_id)}


def _claimed(project_id: int, webhook_id: str, url: str) -> Claimed:
    return Claimed(project_id, UUID(webhook_id), url)


def _first(delivery_id: str, payload: str) -> tuple[UUID, str]:
    return UUID(delivery_id), payload
