"""Persons of projects: lists in a stable order, numbers of an imported system, repeated creations."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Two indexes, which are built at once because no project has a person, and a table."""
    op.execute(r"""
-- Serves the list of a project's people.
CREATE INDEX person_created_at ON person (project_id, created_at, person_id);
-- Serves the search by the number of another system.
CREATE UNIQUE INDEX person_imported_id ON person (project_id, imported_id) WHERE imported_id IS NOT NULL;

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
    """)


def downgrade() -> None:
    """Repeats of the last 48 hours are not recognised any more."""
    op.execute("""
DROP TABLE creation_key;
DROP INDEX person_created_at, person_imported_id;
    """)
