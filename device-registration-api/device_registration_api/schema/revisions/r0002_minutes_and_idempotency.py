"""Minute buckets, and the client's own keys of the last 48 hours."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Two tables; the minutes of what was already counted are taken from the facts."""
    op.execute(r"""
-- A repeat is recognised by the client's own key for 48 hours; a table partitioned by time cannot hold such a key.
CREATE TABLE idempotency (
    project_id  int         NOT NULL,
    key         text        NOT NULL CHECK (char_length(key) BETWEEN 1 AND 255),
    body_sha256 bytea       NOT NULL CHECK (octet_length(body_sha256) = 32),
    event_id    uuid        NOT NULL,
    received_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    answer      jsonb,
    PRIMARY KEY (project_id, key)
);
COMMENT ON COLUMN idempotency.answer IS 'What a batch was answered; NULL for a single event: all get the same.';
-- Serves the deletion of rows older than 48 hours, oldest first.
CREATE INDEX idempotency_created_at ON idempotency (created_at);

-- Kept for 35 days: longer than the 30 days that an event may be late.
CREATE TABLE auth_event_minute (
    project_id   int         NOT NULL,
    device_type  device_type NOT NULL,
    bucket_start timestamptz NOT NULL
        CHECK (bucket_start = date_bin('1 minute', bucket_start, '2000-01-01 00:00:00+00')),
    slot         smallint    NOT NULL CHECK (slot BETWEEN 0 AND 15),
    event_count  bigint      NOT NULL CHECK (event_count >= 0),
    PRIMARY KEY (project_id, device_type, bucket_start, slot)
) WITH (fillfactor = 70);
-- Serves the deletion of buckets older than 35 days, oldest first.
CREATE INDEX auth_event_minute_bucket_start ON auth_event_minute (bucket_start);

CREATE VIEW stats.auth_event_minute AS
    SELECT project_id, device_type, bucket_start, event_count FROM auth_event_minute;

GRANT SELECT ON stats.auth_event_minute TO stats_reader, registration_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth_event_minute TO registration_writer;
GRANT SELECT, INSERT, UPDATE (answer), DELETE ON idempotency TO registration_writer;
    """)
    # Without it the minutes before this moment would read 0. The lock keeps out events that would be counted in
    # neither; a fact is received at most five minutes before it occurs, hence the wider bound.
    op.execute(r"""
LOCK TABLE auth_event IN SHARE MODE;
INSERT INTO auth_event_minute (project_id, device_type, bucket_start, slot, event_count)
SELECT project_id, device_type, date_bin('1 minute', occurred_at, '2000-01-01 00:00:00+00'), 0, count(*)
  FROM auth_event
 WHERE received_at >= now() - interval '36 days'
   AND occurred_at >= now() - interval '35 days'
 GROUP BY 1, 2, 3;
    """)


def downgrade() -> None:
    """The minutes and the keys are lost: a repeat of a request is counted again until the next upgrade."""
    op.execute("DROP VIEW stats.auth_event_minute; DROP TABLE auth_event_minute, idempotency")
