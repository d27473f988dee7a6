"""Accounts: who may log in."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Two more tables."""
    op.execute(r"""
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
    """)


def downgrade() -> None:
    """Delete every account; their people stay, without a way to log in."""
    op.execute("DROP TABLE registration_key, account")
