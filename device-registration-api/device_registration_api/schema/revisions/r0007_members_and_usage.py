"""Members of projects, the use of keys, deletion of projects, and notifications for those who remember keys.

Release 0.1.0 runs beside this revision during an upgrade and reads nothing of it. The tables of projects and keys have
few rows, so their locks are held for milliseconds.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """No project has a member: an operator names the first owner of one that is there already."""
    op.execute(r"""
ALTER TABLE project
    ADD COLUMN created_by uuid,
    ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT project_default_stays CHECK (project_id <> 1 OR deleted_at IS NULL);
ALTER TABLE api_key ADD CONSTRAINT api_key_rate_limit_check
    CHECK (rate_limit ~ '^[1-9][0-9]{0,6}/(second|minute|hour|day)$');
CREATE UNIQUE INDEX project_created_by_name ON project (created_by, name) WHERE deleted_at IS NULL;

CREATE TABLE project_member (
    project_id int         NOT NULL,
    account_id uuid        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('owner', 'member')),
    added_at   timestamptz NOT NULL,
    PRIMARY KEY (project_id, account_id)
);
-- Serves the list of an account's projects.
CREATE INDEX project_member_account_id ON project_member (account_id);

CREATE OR REPLACE VIEW stats.project AS
    SELECT project_id, project_key, name, timezone, is_active, apdex_threshold_ms,
           description, retention_days, created_at, updated_at
      FROM project
     WHERE deleted_at IS NULL;

CREATE OR REPLACE VIEW stats.api_key AS
    SELECT k.key_id, k.digest, k.project_id, k.scopes, k.expires_at,
           k.revoked_at IS NULL AS is_active, p.is_active AND p.deleted_at IS NULL AS project_is_active,
           k.name, k.rate_limit, k.replaced_by, k.created_at, k.last_used_at, k.total_requests
      FROM api_key AS k
      JOIN project AS p USING (project_id);

CREATE VIEW stats.project_member AS
    SELECT project_id, account_id, role, added_at FROM project_member;

-- Tells the public service, which listens, that a key or a project has changed: then it asks for them again at once.
CREATE FUNCTION maintenance.notify_access_changed() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF tg_table_name = 'api_key' THEN
        PERFORM pg_notify('access_changed', 'key ' || old.key_id);
    ELSE
        PERFORM pg_notify('access_changed', 'project ' || old.project_id || ' ' || old.project_key);
    END IF;
    RETURN NULL;
END
$$;
-- Not for last_used_at and total_requests, which change every minute.
CREATE TRIGGER api_key_notify_access_changed
    AFTER UPDATE OF rate_limit, expires_at, revoked_at OR DELETE ON api_key
    FOR EACH ROW EXECUTE FUNCTION maintenance.notify_access_changed();
CREATE TRIGGER project_notify_access_changed
    AFTER UPDATE OR DELETE ON project
    FOR EACH ROW EXECUTE FUNCTION maintenance.notify_access_changed();

-- Deletes at most rows_max rows of a project that was deleted a minute ago or earlier: of the first table of schema
-- public that has any, by the name of the column project_id. When no table has one left, the project itself goes, and
-- table_name is NULL. Like the functions above it runs with its owner's rights: the caller may delete no fact.
CREATE FUNCTION maintenance.delete_project_rows(project int, rows_max int, OUT table_name text, OUT row_count bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored regclass;
BEGIN
    -- By the server's own clock, and later than a remembered key is accepted: nothing is recorded any more.
    PERFORM FROM public.project AS p
      WHERE p.project_id = project AND p.deleted_at < now() - interval '1 minute' FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'project % was not deleted a minute ago', project USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR stored IN
        SELECT c.oid
          FROM pg_class AS c
          JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'project_id' AND NOT a.attisdropped
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.oid <> 'public.project'::regclass
         ORDER BY c.relname
    LOOP
        EXECUTE format('DELETE FROM ONLY %1$s WHERE ctid = ANY (ARRAY('
                       'SELECT ctid FROM ONLY %1$s WHERE project_id = $1 LIMIT $2))', stored) USING project, rows_max;
        GET DIAGNOSTICS row_count = ROW_COUNT;
        IF row_count > 0 THEN
            table_name := stored::text;
            RETURN;
        END IF;
    END LOOP;
    DELETE FROM public.project AS p WHERE p.project_id = project;
    row_count := 0;
END
$$;

REVOKE EXECUTE ON FUNCTION maintenance.notify_access_changed(), maintenance.delete_project_rows(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maintenance.delete_project_rows(int, int) TO registration_writer;
GRANT SELECT ON stats.project_member TO stats_reader, registration_writer;
GRANT UPDATE (name, description, timezone, apdex_threshold_ms, retention_days, deleted_at) ON project
    TO registration_writer;
GRANT DELETE, UPDATE (name, rate_limit, last_used_at, total_requests) ON api_key TO registration_writer;
GRANT SELECT, INSERT, DELETE ON project_member TO registration_writer;
    """)


def downgrade() -> None:
    """Members are lost. A project whose deletion is not complete is an inactive one again."""
    op.execute("""
DROP TRIGGER api_key_notify_access_changed ON api_key;
DROP TRIGGER project_notify_access_changed ON project;
DROP FUNCTION maintenance.notify_access_changed(), maintenance.delete_project_rows(int, int);
DROP VIEW stats.project_member, stats.project, stats.api_key;
DROP TABLE project_member;
REVOKE UPDATE (name, description, timezone, apdex_threshold_ms, retention_days) ON project FROM registration_writer;
REVOKE DELETE, UPDATE (name, rate_limit, last_used_at, total_requests) ON api_key FROM registration_writer;
ALTER TABLE api_key DROP CONSTRAINT api_key_rate_limit_check;
ALTER TABLE project
    DROP COLUMN created_by,
    DROP COLUMN deleted_at;

CREATE VIEW stats.project AS
    SELECT project_id, project_key, name, timezone, is_active FROM project;
CREATE VIEW stats.api_key AS
    SELECT k.key_id, k.digest, k.project_id, k.scopes, k.expires_at,
           k.revoked_at IS NULL AS is_active, p.is_active AS project_is_active
      FROM api_key AS k
      JOIN project AS p USING (project_id);
GRANT SELECT ON stats.project, stats.api_key TO stats_reader, registration_writer;
    """)
