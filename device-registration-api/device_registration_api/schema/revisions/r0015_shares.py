"""Shares: links that show one view of a project.

Releases without shares run beside this revision during an upgrade: they know no token, and refuse each as no key.
"""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """No project has a share."""
    op.execute(r"""
-- Links that show one view of a project. Only the SHA-256 of a token is stored: it has 128 random bits.
CREATE TABLE share (
    project_id      int         NOT NULL,
    share_id        uuid        NOT NULL,
    digest          bytea       NOT NULL CHECK (octet_length(digest) = 32),
    shown_view      text        NOT NULL CHECK (shown_view IN ('auth_events', 'requests', 'store_events', 'device')),
    device_id       text        CHECK (char_length(device_id) BETWEEN 1 AND 255),
    first_range     text        CHECK (char_length(first_range) BETWEEN 1 AND 64),
    frame_ancestors text[]      NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz,
    PRIMARY KEY (project_id, share_id),
    CHECK ((shown_view = 'device') = (device_id IS NOT NULL))
);
COMMENT ON COLUMN share.expires_at IS 'NULL: never.';
-- A request shows a token and not its project. Not unique, as that of api_key.
CREATE INDEX share_digest ON share (digest);

CREATE VIEW stats.share AS
    SELECT s.digest, s.project_id, s.share_id, s.shown_view, s.device_id, s.first_range, s.frame_ancestors,
           s.expires_at, p.project_key, p.name AS project_name, p.timezone
      FROM share AS s
      JOIN project AS p USING (project_id)
     WHERE p.is_active AND p.deleted_at IS NULL;

-- Tells the public service, which remembers shares, that one is gone.
CREATE FUNCTION maintenance.notify_share_deleted() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('access_changed', 'share ' || encode(old.digest, 'hex'));
    RETURN NULL;
END
$$;
CREATE TRIGGER share_notify_deleted
    AFTER DELETE ON share FOR EACH ROW EXECUTE FUNCTION maintenance.notify_share_deleted();

REVOKE EXECUTE ON FUNCTION maintenance.notify_share_deleted() FROM PUBLIC;
GRANT SELECT ON stats.share TO stats_reader, registration_writer;
GRANT SELECT, INSERT, DELETE ON share TO registration_writer;
    """)


def downgrade() -> None:
    """Every link ends."""
    op.execute("""
DROP VIEW stats.share;
DROP TABLE share;
DROP FUNCTION maintenance.notify_share_deleted();
    """)
