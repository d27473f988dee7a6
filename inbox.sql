-- The whole current schema of the database `inbox`: events that arrive while the first database is away (docs/inbox.md).
-- It is on another server. `device-registration-api migrate` runs it, as role stats_owner, in an empty database; one that
-- exists already gets the revisions in device-registration-api/device_registration_api/schema/inbox_revisions instead.

-- The revision of this schema; `migrate` reads and writes it.
CREATE TABLE alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);

-- An event, or a whole batch, that could not be stored in the first database. A row leaves when it has been recorded
-- there, or may not be recorded any more. What cannot be recorded stays, with the reason, until an operator decides.
CREATE TABLE inbox_entry (
    entry_id    bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text        NOT NULL CHECK (char_length(kind) BETWEEN 1 AND 64),
    is_batch    boolean     NOT NULL,
    project_id  int         NOT NULL,
    event_id    uuid        NOT NULL,
    received_at timestamptz NOT NULL,
    event_count int         NOT NULL CHECK (event_count >= 0),
    identity    text        CHECK (char_length(identity) BETWEEN 1 AND 320),
    fingerprint bytea       CHECK (octet_length(fingerprint) = 32),
    envelope    text        NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    refused_at  timestamptz,
    refusal     text,
    CONSTRAINT inbox_entry_identity_has_a_fingerprint CHECK ((identity IS NULL) = (fingerprint IS NULL)),
    CONSTRAINT inbox_entry_refused_for_a_reason CHECK ((refused_at IS NULL) = (refusal IS NULL))
);
COMMENT ON COLUMN inbox_entry.event_id IS 'The id of the event, or of the batch: the same in each of our own repeats.';
COMMENT ON COLUMN inbox_entry.identity IS
    'The client''s key as the table idempotency of the first database has it; NULL without one.';
COMMENT ON COLUMN inbox_entry.envelope IS
    'What travels between the services, as JSON: data of clients. Kept until it is recorded, or an operator decides.';
-- An event that our own repeat brings again is stored once.
CREATE UNIQUE INDEX inbox_entry_event_id ON inbox_entry (event_id);
-- So is one that its client repeats under its key. What was refused does not hold the key.
CREATE UNIQUE INDEX inbox_entry_identity ON inbox_entry (project_id, identity) WHERE refused_at IS NULL;
-- Serves the drain, which goes in the order of arrival.
CREATE INDEX inbox_entry_waiting ON inbox_entry (entry_id) WHERE refused_at IS NULL;
-- Serves the age of the oldest event, and the life of identities in the first database.
CREATE INDEX inbox_entry_received_at ON inbox_entry (received_at) WHERE refused_at IS NULL;
-- Serves the list of what was refused.
CREATE INDEX inbox_entry_refused_at ON inbox_entry (refused_at) WHERE refused_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON inbox_entry TO inbox_writer;

-- Whether this transaction is the one that drains now. Its login may take no other advisory lock.
CREATE FUNCTION try_to_drain() RETURNS boolean
    LANGUAGE sql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$ SELECT pg_try_advisory_xact_lock(7302006) $$;
REVOKE EXECUTE ON FUNCTION try_to_drain() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION try_to_drain() TO inbox_writer;
