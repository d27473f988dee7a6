"""Evaluates rules once a minute. A change of a rule's state and the delivery that tells of it are one transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg2 import errors

from contract.webhooks import Condition, RuleDraft
from device_registration_api.webhooks.deliveries import Message, store_delivery
from device_registration_api.webhooks.figures import Window, look_up
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

STARTED = "rule.started"
RESOLVED = "rule.resolved"
# The events of a minute are committed some seconds after it, at the latest.
SETTLE_SECONDS = 10
_BATCH_RULES = 500

_DUE: LiteralString = """
      FROM webhook_rule AS r
      JOIN webhook AS w USING (project_id, webhook_id)
      JOIN project AS p USING (project_id)
     WHERE (r.evaluated_to IS NULL OR r.evaluated_to < %(ends)s)
       AND w.is_active AND p.is_active AND p.deleted_at IS NULL
"""
DUE = f"""
    SELECT r.project_id, r.rule_id::text {_DUE}
     ORDER BY r.project_id, r.rule_id
     LIMIT %(rules)s
"""
# Another process may evaluate beside this one: each rule has one of them.
LOCK = f"""
    SELECT r.webhook_id::text, p.project_key, r.definition, r.created_at, r.is_holding {_DUE}
       AND r.project_id = %(project_id)s AND r.rule_id = %(rule_id)s::uuid
       FOR UPDATE OF r SKIP LOCKED
"""
NOTE = """
    UPDATE webhook_rule
       SET evaluated_to = %(ends)s, value = %(value)s
     WHERE project_id = %(project_id)s AND rule_id = %(rule_id)s::uuid
"""
CHANGE = """
    UPDATE webhook_rule
       SET is_holding = %(is_holding)s, changed_at = %(now)s
     WHERE project_id = %(project_id)s AND rule_id = %(rule_id)s::uuid
"""


class _Due(NamedTuple):
    project_id: int
    rule_id: str


class _Locked(NamedTuple):
    webhook_id: str
    project_key: str
    definition: dict[str, Any]
    created_at: datetime
    is_holding: bool


def last_minute(now: datetime) -> datetime:
    """Return the end of the last minute that is complete."""
    return (now - timedelta(seconds=SETTLE_SECONDS)).replace(second=0, microsecond=0)


def evaluate(
    conn: Connection, now: datetime, report: Callable[[str], None], stopping: Callable[[], bool] = lambda: False
) -> int:
    """Evaluate every rule that was not evaluated up to the last complete minute. Returns the number of changes.

    A rule that fails is reported, and is not tried again before the next minute. Raises psycopg2.OperationalError when
    the server is away.
    """
    ends = last_minute(now)
    changes = 0
    while not stopping():
        with conn:
            due = fetch_all(conn, DUE, {"ends": ends, "rules": _BATCH_RULES}, _Due)
        for each in due:
            changes += _evaluate(conn, each, ends, now, report)
        if len(due) < _BATCH_RULES:
            break
    return changes


def is_held(rule: RuleDraft, value: float) -> bool:
    """Whether a value fulfils the condition of a rule."""
    if rule.threshold is None:
        return value == 0
    return value > rule.threshold if rule.condition is Condition.ABOVE else value < rule.threshold


def _evaluate(conn: Connection, due: _Due, ends: datetime, now: datetime, report: Callable[[str], None]) -> bool:
    named: dict[str, object] = {**due._asdict(), "ends": ends, "now": now}
    try:
        with conn:
            for locked in fetch_all(conn, LOCK, named, _Locked):
                return _evaluate_locked(conn, due, locked, ends, now)
    except (errors.QueryCanceled, errors.LockNotAvailable, errors.DeadlockDetected, errors.DataError) as error:
        report(f"rule {due.rule_id}: {type(error).__name__}; the next minute tries again")
        with conn:
            execute(conn, NOTE, named | {"value": None})
    return False


def _evaluate_locked(conn: Connection, due: _Due, locked: _Locked, ends: datetime, now: datetime) -> bool:
    rule = RuleDraft.model_validate(locked.definition)
    window = Window(ends - timedelta(minutes=rule.window_minutes), ends)
    value = look_up(conn, due.project_id, UUID(due.rule_id), rule, window)
    named: dict[str, object] = {**due._asdict(), "ends": ends, "value": value}
    execute(conn, NOTE, named)
    # Little or nothing is known of the time before the rule, so it cannot have been too little.
    is_young = rule.condition is not Condition.ABOVE and window.starts < locked.created_at
    if value is None or is_young or is_held(rule, value) == locked.is_holding:
        return False
    is_holding = not locked.is_holding
    execute(conn, CHANGE, named | {"is_holding": is_holding, "now": now})
    message = Message(
        STARTED if is_holding else RESOLVED,
        {
            "rule": {"id": due.rule_id, **locked.definition},
            "value": value,
            "window": {"starts": window.starts.isoformat(), "ends": window.ends.isoformat()},
        },
        UUID(due.rule_id),
    )
    store_delivery(conn, due.project_id, locked.project_key, UUID(locked.webhook_id), message, now)
    return True
