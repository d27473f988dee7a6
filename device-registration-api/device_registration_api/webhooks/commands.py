"""Creates, changes and deletes webhooks and their rules. Callers own the transaction, and have locked the project."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from psycopg2.extras import Json

from contract.webhooks import (
    RULES_MAX,
    WEBHOOKS_MAX,
    Rule,
    RuleDraft,
    Stream,
    StreamDraft,
    Webhook,
    WebhookChange,
    WebhookDraft,
)
from device_registration_api.exports.position import Position
from device_registration_api.webhooks.deliveries import WEBHOOK_NOT_FOUND
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, NotFound
from servicekit.process import clock

INSERT = """
    INSERT INTO webhook (project_id, webhook_id, url, description, created_at)
    VALUES (%(project_id)s, %(webhook_id)s::uuid, %(url)s, %(description)s, %(created_at)s)
"""
LIST = """
    SELECT webhook_id::text, url, description, is_active, created_at, next_attempt_at,
           (SELECT count(*) FROM webhook_delivery AS d
             WHERE d.project_id = w.project_id AND d.webhook_id = w.webhook_id AND d.state = 'pending')
      FROM webhook AS w
     WHERE project_id = %(project_id)s AND (%(webhook_id)s::uuid IS NULL OR webhook_id = %(webhook_id)s::uuid)
     ORDER BY created_at, webhook_id
"""
UPDATE = """
    UPDATE webhook
       SET url = %(url)s, description = %(description)s, is_active = %(is_active)s
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
"""
INSERT_RULE = """
    INSERT INTO webhook_rule (project_id, rule_id, webhook_id, definition, created_at)
    VALUES (%(project_id)s, %(rule_id)s::uuid, %(webhook_id)s::uuid, %(definition)s, %(created_at)s)
"""
RULES = """
    SELECT rule_id::text, webhook_id::text, definition, created_at, is_holding, changed_at, value, evaluated_to
      FROM webhook_rule
     WHERE project_id = %(project_id)s
     ORDER BY created_at, rule_id
"""
DELETE_SAMPLES = """
    DELETE FROM webhook_sample
     WHERE project_id = %(project_id)s
       AND rule_id IN (SELECT rule_id FROM webhook_rule
                        WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
                          AND (%(rule_id)s::uuid IS NULL OR rule_id = %(rule_id)s::uuid))
"""
DELETE_RULES = """
    DELETE FROM webhook_rule
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
       AND (%(rule_id)s::uuid IS NULL OR rule_id = %(rule_id)s::uuid)
"""
INSERT_STREAM = """
    INSERT INTO webhook_stream (project_id, webhook_id, kind, cursor, created_at, next_attempt_at)
    VALUES (%(project_id)s, %(webhook_id)s::uuid, %(kind)s, %(cursor)s, %(now)s, %(now)s)
"""
STREAMS = """
    SELECT webhook_id::text, kind, cursor, created_at, delivered_at, failed_attempts, last_error, next_attempt_at
      FROM webhook_stream
     WHERE project_id = %(project_id)s
     ORDER BY created_at, kind
"""
DELETE_STREAMS = """
    DELETE FROM webhook_stream
     WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
       AND (%(kind)s::text IS NULL OR kind = %(kind)s)
"""
# As everybody else: the rules first, then the webhook, then what belongs to it.
LOCK = "SELECT FROM webhook WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid FOR UPDATE"
DELETE = """
    WITH secrets AS (
        DELETE FROM webhook_secret WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid),
    deliveries AS (
        DELETE FROM webhook_delivery WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid)
    DELETE FROM webhook WHERE project_id = %(project_id)s AND webhook_id = %(webhook_id)s::uuid
"""


class _StoredRule(NamedTuple):
    webhook_id: UUID
    rule: Rule


class _StoredStream(NamedTuple):
    webhook_id: str
    kind: str
    checkpoint: str
    created_at: datetime
    delivered_at: datetime | None
    failed_attempts: int
    last_error: str | None
    next_attempt_at: datetime


class _Stored(NamedTuple):
    webhook_id: str
    url: str
    description: str | None
    is_active: bool
    created_at: datetime
    next_attempt_at: datetime | None
    pending: int


def create_webhook(conn: Connection, project_id: int, draft: WebhookDraft) -> Webhook:
    """Store a webhook without a secret. Raises Conflict when the project has as many as are allowed."""
    if len(list_webhooks(conn, project_id)) >= WEBHOOKS_MAX:
        raise Conflict(f"a project has at most {WEBHOOKS_MAX} webhooks")
    webhook_id = uuid4()
    stored = {"url": draft.url, "description": draft.description, "created_at": clock.now()}
    execute(conn, INSERT, _named(project_id, webhook_id) | stored)
    for rule in draft.rules:
        _insert_rule(conn, project_id, webhook_id, rule)
    return read_webhook(conn, project_id, webhook_id)


def list_webhooks(conn: Connection, project_id: int) -> list[Webhook]:
    """Return the webhooks of a project, the oldest first."""
    return _webhooks(conn, project_id, None)


def read_webhook(conn: Connection, project_id: int, webhook_id: UUID) -> Webhook:
    """Return one webhook. Raises NotFound."""
    found = _webhooks(conn, project_id, webhook_id)
    if not found:
        raise NotFound(WEBHOOK_NOT_FOUND)
    return found[0]


def change_webhook(conn: Connection, project_id: int, webhook_id: UUID, change: WebhookChange) -> Webhook:
    """Change the fields that are set. Raises NotFound."""
    before = read_webhook(conn, project_id, webhook_id)
    changed = before.model_copy(update=change.model_dump(exclude_unset=True))
    fields = {"url": changed.url, "description": changed.description, "is_active": changed.is_active}
    execute(conn, UPDATE, _named(project_id, webhook_id) | fields)
    return changed


def delete_webhook(conn: Connection, project_id: int, webhook_id: UUID) -> None:
    """Remove a webhook with its secrets, its rules and its log. Raises NotFound."""
    read_webhook(conn, project_id, webhook_id)
    named = _named(project_id, webhook_id) | {"rule_id": None, "kind": None}
    execute(conn, DELETE_STREAMS, named)
    execute(conn, DELETE_SAMPLES, named)
    execute(conn, DELETE_RULES, named)
    execute(conn, LOCK, named)
    execute(conn, DELETE, named)


def add_rule(conn: Connection, project_id: int, webhook_id: UUID, draft: RuleDraft) -> Rule:
    """Store a rule of a webhook. Raises NotFound, and Conflict when it has as many as are allowed."""
    if len(read_webhook(conn, project_id, webhook_id).rules) >= RULES_MAX:
        raise Conflict(f"a webhook has at most {RULES_MAX} rules")
    return _insert_rule(conn, project_id, webhook_id, draft)


def delete_rule(conn: Connection, project_id: int, webhook_id: UUID, rule_id: UUID) -> None:
    """Remove a rule; its deliveries stay. Raises NotFound."""
    named = _named(project_id, webhook_id) | {"rule_id": str(rule_id)}
    execute(conn, DELETE_SAMPLES, named)
    if not execute(conn, DELETE_RULES, named):
        raise NotFound("Rule not found: the webhook has no rule with this id")


def add_stream(
    conn: Connection, project_id: int, webhook_id: UUID, draft: StreamDraft, begins: Callable[[], Position]
) -> Stream:
    """Store a stream of a webhook; `begins` returns its first position. Raises NotFound, and Conflict if it has one."""
    found = read_webhook(conn, project_id, webhook_id)
    if any(each.kind == draft.kind for each in found.streams):
        message = f"the webhook has a stream of {draft.kind} already"
        raise Conflict(message)
    stored = {"kind": draft.kind, "cursor": begins().text(), "now": clock.now()}
    execute(conn, INSERT_STREAM, _named(project_id, webhook_id) | stored)
    [stream] = [each for each in read_webhook(conn, project_id, webhook_id).streams if each.kind == draft.kind]
    return stream


def delete_stream(conn: Connection, project_id: int, webhook_id: UUID, kind: str) -> None:
    """End a stream. Raises NotFound."""
    if not execute(conn, DELETE_STREAMS, _named(project_id, webhook_id) | {"kind": kind}):
        raise NotFound("Stream not found: the webhook has no stream of this kind")


def _insert_rule(conn: Connection, project_id: int, webhook_id: UUID, draft: RuleDraft) -> Rule:
    rule_id, now = uuid4(), clock.now()
    definition = draft.model_dump(mode="json")
    stored = {"rule_id": str(rule_id), "definition": Json(definition), "created_at": now}
    execute(conn, INSERT_RULE, _named(project_id, webhook_id) | stored)
    return _rule(rule_id, definition, now, False, None, None, None)


def _webhooks(conn: Connection, project_id: int, webhook_id: UUID | None) -> list[Webhook]:
    named = {"project_id": project_id, "webhook_id": None if webhook_id is None else str(webhook_id)}
    stored = fetch_all(conn, LIST, named, _Stored)
    rules = fetch_all(conn, RULES, named, _stored_rule)
    streams = fetch_all(conn, STREAMS, named, _StoredStream)
    return [
        Webhook(
            id=UUID(each.webhook_id),
            rules=[rule.rule for rule in rules if rule.webhook_id == UUID(each.webhook_id)],
            streams=[
                Stream.model_validate(stream._asdict()) for stream in streams if stream.webhook_id == each.webhook_id
            ],
            **{**each._asdict(), "webhook_id": None},
        )
        for each in stored
    ]


def _stored_rule(rule_id: str, webhook_id: str, definition: dict[str, Any], *values: Any) -> _StoredRule:  # noqa: ANN401 - columns
    return _StoredRule(UUID(webhook_id), _rule(UUID(rule_id), definition, *values))


def _rule(
    rule_id: UUID,
    definition: dict[str, Any],
    created_at: datetime,
    is_holding: bool,
    changed_at: datetime | None,
    value: float | None,
    evaluated_to: datetime | None,
) -> Rule:
    return Rule(
        **definition,
        id=rule_id,
        created_at=created_at,
        is_holding=is_holding,
        changed_at=changed_at,
        value=value,
        evaluated_to=evaluated_to,
    )


def _named(project_id: int, webhook_id: UUID) -> dict[str, object]:
    return {"project_id": project_id, "webhook_id": str(webhook_id)}
