"""Accounts: who may log in."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One more table."""
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

GRANT SELECT, INSERT, UPDATE, DELETE ON account TO personal_writer;
    """)


def downgrade() -> None:
    """Delete every account; their people stay, without a way to log in."""
    op.execute("DROP TABLE account")
