"""Who was erased: the newest keyring tells it to an older copy of the other databases."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One more table."""
    op.execute(r"""
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
    """)


def downgrade() -> None:
    """Nobody is readable again, but an older copy of the other databases is not told of any erasure."""
    op.execute("DROP TABLE erased_person")
