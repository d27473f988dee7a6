-- The whole current schema of the database `keyring`: the key of each person, encrypted under a key-encryption key (KEK)
-- that no database holds. `device-registration-api migrate` runs it, as role stats_owner, in an empty database; one that
-- exists already gets the revisions in device-registration-api/device_registration_api/schema/keyring_revisions instead.
-- It is backed up apart from the others, and only its newest backup is kept.

-- The revision of this schema; `migrate` reads and writes it.
CREATE TABLE alembic_version (
    version_num varchar(32) CONSTRAINT alembic_version_pkc PRIMARY KEY
);

-- A key is stored before its person, and deleted after it.
CREATE TABLE person_key (
    key_id     uuid        PRIMARY KEY,
    project_id int         NOT NULL,
    person_id  uuid        NOT NULL,
    kek        smallint    NOT NULL,
    wrapped    bytea       NOT NULL,
    in_use     boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN person_key.wrapped IS 'Secret: the person''s key, encrypted under KEK number `kek`.';
COMMENT ON COLUMN person_key.in_use IS
    'maintain has seen the person of this key, a day after the key was made; a key without a person is deleted then.';
-- Serves an erasure, which finds the key also after the person is gone.
CREATE INDEX person_key_person_id ON person_key (project_id, person_id);
-- Serves maintain, which looks at each key once.
CREATE INDEX person_key_unseen ON person_key (created_at) WHERE NOT in_use;
-- Serves the count of keys under a KEK.
CREATE INDEX person_key_kek ON person_key (kek);

-- When each KEK was first seen: maintain reminds the operator of its age.
CREATE TABLE key_epoch (
    kek   smallint    PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now()
);

-- Secrets for pseudonyms that must not be linked beyond a day.
CREATE TABLE daily_pepper (
    day    date  PRIMARY KEY,
    secret bytea NOT NULL CHECK (octet_length(secret) = 32)
);
COMMENT ON COLUMN daily_pepper.secret IS 'Secret. Deleted when its day began more than 48 hours ago.';

GRANT SELECT, INSERT, UPDATE, DELETE ON person_key, key_epoch, daily_pepper TO personal_writer;

-- Who was erased. Opaque ids alone. Stored with the deletion of the key, and kept for ever: only the newest copy of
-- this database is kept, so it knows every erasure when older copies of the others are restored.
CREATE TABLE erased_person (
    project_id int         NOT NULL,
    person_id  uuid        NOT NULL,
    receipt    uuid        NOT NULL,
    erased_at  timestamptz NOT NULL,
    PRIMARY KEY (project_id, person_id)
);

GRANT SELECT, INSERT ON erased_person TO personal_writer;
