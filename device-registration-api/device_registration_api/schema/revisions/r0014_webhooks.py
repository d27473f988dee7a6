"""Webhooks: addresses, sealed secrets, rules, and the log of deliveries. The public service reads none of it.

Releases without webhooks run beside this revision during an upgrade, and know nothing of it.
"""

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """No project has a webhook."""
    op.execute(r"""
-- Where a project's owner is told of what its rules find. The next attempt is that of the first pending delivery.
CREATE TABLE webhook (
    project_id      int         NOT NULL,
    webhook_id      uuid        NOT NULL,
    url             text        NOT NULL CHECK (char_length(url) BETWEEN 1 AND 2100),
    description     text        CHECK (char_length(description) BETWEEN 1 AND 1000),
    is_active       boolean     NOT NULL DEFAULT true,
    created_at      timestamptz NOT NULL,
    last_sequence   bigint      NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    claimed_until   timestamptz,
    PRIMARY KEY (project_id, webhook_id)
);
COMMENT ON COLUMN webhook.next_attempt_at IS 'NULL: no delivery is pending.';
COMMENT ON COLUMN webhook.claimed_until IS 'Until then, one process alone sends to this webhook.';
CREATE INDEX webhook_next_attempt_at ON webhook (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- The secrets that sign what is sent, encrypted under a key-encryption key that no database has.
CREATE TABLE webhook_secret (
    project_id int         NOT NULL,
    webhook_id uuid        NOT NULL,
    secret_id  uuid        NOT NULL,
    kek        smallint    NOT NULL CHECK (kek > 0),
    wrapped    bytea       NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (project_id, webhook_id, secret_id)
);
COMMENT ON COLUMN webhook_secret.expires_at IS 'NULL: it is the current one.';

-- Each state change of a rule, and the delivery that tells of it, are stored in one transaction.
CREATE TABLE webhook_rule (
    project_id   int         NOT NULL,
    rule_id      uuid        NOT NULL,
    webhook_id   uuid        NOT NULL,
    definition   jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    is_holding   boolean     NOT NULL DEFAULT false,
    changed_at   timestamptz,
    value        float8,
    evaluated_to timestamptz,
    PRIMARY KEY (project_id, rule_id)
);
COMMENT ON COLUMN webhook_rule.evaluated_to IS 'The end of the minutes that were looked at last. NULL: none yet.';
CREATE INDEX webhook_rule_webhook_id ON webhook_rule (project_id, webhook_id);

-- What was counted in all, at some minutes: for figures that have no rollup by the minute.
CREATE TABLE webhook_sample (
    project_id  int         NOT NULL,
    rule_id     uuid        NOT NULL,
    sampled_at  timestamptz NOT NULL,
    event_count bigint      NOT NULL,
    PRIMARY KEY (project_id, rule_id, sampled_at)
);

CREATE TABLE webhook_delivery (
    project_id    int         NOT NULL,
    delivery_id   uuid        NOT NULL,
    webhook_id    uuid        NOT NULL,
    sequence      bigint      NOT NULL CHECK (sequence > 0),
    rule_id       uuid,
    type          text        NOT NULL,
    payload       text        NOT NULL,
    state         text        NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'given_up')),
    created_at    timestamptz NOT NULL,
    retry_until   timestamptz NOT NULL,
    finished_at   timestamptz,
    attempt_count int         NOT NULL DEFAULT 0,
    attempts      jsonb       NOT NULL DEFAULT '[]',
    PRIMARY KEY (project_id, delivery_id),
    UNIQUE (project_id, webhook_id, sequence),
    CHECK ((state = 'pending') = (finished_at IS NULL))
);
COMMENT ON COLUMN webhook_delivery.payload IS 'The body as it is signed: an attempt never makes it anew.';
COMMENT ON COLUMN webhook_delivery.attempts IS 'The newest 100, the earliest first.';
-- Serves the order in which a webhook's deliveries are attempted.
CREATE INDEX webhook_delivery_pending ON webhook_delivery (project_id, webhook_id, sequence) WHERE state = 'pending';
-- Serves the deletion of those that ended long ago.
CREATE INDEX webhook_delivery_finished_at ON webhook_delivery (finished_at);
GRANT SELECT, INSERT, UPDATE, DELETE ON
    webhook, webhook_secret, webhook_rule, webhook_sample, webhook_delivery TO registration_writer;
    """)


def downgrade() -> None:
    """Webhooks are lost, with what was not delivered yet."""
    op.execute("DROP TABLE webhook, webhook_secret, webhook_rule, webhook_sample, webhook_delivery;")
