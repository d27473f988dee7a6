"""People's sealed fields and their blind indexes."""

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """The first tables of this database."""
    op.execute(r"""
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
    """)
