"""The wrapped keys of people, the epochs of the key-encryption keys, and daily peppers."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """The first tables of this database."""
    op.execute(r"""
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
    """)
