-- The whole current schema of the database `personal`: people's sealed fields, and the blind indexes that find them.
-- `device-registration-api migrate` runs it, as role stats_owner, in an empty database; one that exists already gets
-- the revisions in device-registration-api/device_registration_api/schema/personal_revisions instead. The keys are in
-- another database (keyring.sql), so that a backup of this one is unreadable without a backup of that one.

-- The revision of this schema; `migrate` reads and writes it.
CREATE TABLE alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);

CREATE TABLE person (
    project_id  int         NOT NULL,
    person_id   uuid        NOT NULL,
    key_id      uuid        NOT NULL,
    sealed      bytea       NOT NULL,
    imported_id text        CHECK (char_length(imported_id) BETWEEN 1 AND 255),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (project_id, person_id)
);
COMMENT ON COLUMN person.sealed IS
    'Personal data: every field of the person, encrypted under the person''s own key. Kept until the person is erased.';
COMMENT ON COLUMN person.imported_id IS 'The number of the person in the system that the data came from.';
-- Serves the search for keys that no person uses.
CREATE UNIQUE INDEX person_key_id ON person (key_id);
-- Serves the list of a project's people.
CREATE INDEX person_created_at ON person (project_id, created_at, person_id);
-- Serves the search by the number of another system.
CREATE UNIQUE INDEX person_imported_id ON person (project_id, imported_id) WHERE imported_id IS NOT NULL;

-- While an index key is replaced, a value has one row for each key.
CREATE TABLE person_index (
    project_id int      NOT NULL,
    field      smallint NOT NULL CHECK (field IN (1, 2)),
    digest     bytea    NOT NULL CHECK (octet_length(digest) = 32),
    index_key  smallint NOT NULL,
    person_id  uuid     NOT NULL,
    PRIMARY KEY (project_id, field, digest)
);
COMMENT ON COLUMN person_index.field IS '1: e-mail address, 2: user name. Unique within the project.';
COMMENT ON COLUMN person_index.digest IS
    'A pseudonym: the keyed hash of the value, bound to project and field. Deleted when the person is erased.';
-- Serves an update and an erasure, which replace all rows of one person.
CREATE INDEX person_index_person_id ON person_index (project_id, person_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON person, person_index TO personal_writer;

CREATE TABLE account (
    account_id    uuid        PRIMARY KEY,
    project_id    int         NOT NULL DEFAULT 0 CHECK (project_id = 0),
    password_hash text        NOT NULL CHECK (password_hash LIKE '$argon2id$%'),
    is_active     boolean     NOT NULL DEFAULT true,
    is_operator   boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (project_id, account_id) REFERENCES person ON DELETE CASCADE
);
COMMENT ON TABLE account IS 'Who may log in. E-mail address and name are those of the person with the same id.';
COMMENT ON COLUMN account.project_id IS 'Accounts belong to the installation, which is no project: 0.';
COMMENT ON COLUMN account.password_hash IS 'Secret: Argon2id with its parameters and its salt.';

-- A client's repeat of a registration within 48 hours gets the first answer.
CREATE TABLE registration_key (
    digest     bytea       PRIMARY KEY CHECK (octet_length(digest) = 32),
    account_id uuid        NOT NULL REFERENCES account ON DELETE CASCADE,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN registration_key.digest IS 'The SHA-256 of the client''s idempotency key.';
-- Serves maintain, which deletes old rows.
CREATE INDEX registration_key_created_at ON registration_key (created_at);
-- Serves the deletion of an account.
CREATE INDEX registration_key_account_id ON registration_key (account_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON account, registration_key TO personal_writer;

-- A client's repeat of the creation of a person within 48 hours gets the first answer.
CREATE TABLE creation_key (
    project_id  int         NOT NULL,
    digest      bytea       NOT NULL CHECK (octet_length(digest) = 32),
    index_key   smallint    NOT NULL,
    body_digest bytea       NOT NULL CHECK (octet_length(body_digest) = 32),
    person_id   uuid        NOT NULL,
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (project_id, digest),
    FOREIGN KEY (project_id, person_id) REFERENCES person ON DELETE CASCADE
);
COMMENT ON COLUMN creation_key.digest IS 'The SHA-256 of the client''s idempotency key.';
COMMENT ON COLUMN creation_key.body_digest IS
    'A pseudonym: the keyed hash of the fields as they were sent. Deleted when the person is erased.';
-- Serves maintain, which deletes old rows.
CREATE INDEX creation_key_created_at ON creation_key (created_at);
-- Serves the erasure of a person.
CREATE INDEX creation_key_person_id ON creation_key (project_id, person_id);

GRANT SELECT, INSERT, DELETE ON creation_key TO personal_writer;
