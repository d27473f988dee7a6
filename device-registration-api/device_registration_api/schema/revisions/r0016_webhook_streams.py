"""Streams of webhooks: raw events, delivered in order from a checkpoint of an export.

Releases without streams run beside this revision during an upgrade: they send none.
"""

from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """No webhook has a stream."""
    op.execute(r"""
-- Which events a webhook is sent as they are, and behind which one it goes on.
CREATE TABLE webhook_stream (
    project_id      int         NOT NULL,
    webhook_id      uuid        NOT NULL,
    kind            text        NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 64),
    cursor          text        NOT NULL CHECK (char_length(cursor) BETWEEN 1 AND 1000),
    created_at      timestamptz NOT NULL,
    delivered_at    timestamptz,
    failed_attempts int         NOT NULL DEFAULT 0 CHECK (failed_attempts >= 0),
    last_error      text,
    next_attempt_at timestamptz NOT NULL,
    claimed_until   timestamptz,
    PRIMARY KEY (project_id, webhook_id, kind)
);
COMMENT ON COLUMN webhook_stream.cursor IS 'The checkpoint of an export: everything before it was received.';
COMMENT ON COLUMN webhook_stream.claimed_until IS 'Until then, one process alone sends this stream.';
-- Serves the order in which streams are attempted.
CREATE INDEX webhook_stream_next_attempt_at ON webhook_stream (next_attempt_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON webhook_stream TO registration_writer;
    """)


def downgrade() -> None:
    """Every stream ends."""
    op.execute("DROP TABLE webhook_stream")
