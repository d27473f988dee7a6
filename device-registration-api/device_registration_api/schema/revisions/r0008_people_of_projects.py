"""The ids of the persons of projects, and what became of them. Their personal data is in another database.

Releases without persons run beside this revision during an upgrade: the table is new, and they read nothing of it.
"""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """No project has a person."""
    op.execute(r"""
-- The persons of a project, by opaque ids alone: their personal data is in another database. A row is stored before its
-- person, so that it may be without one.
CREATE TABLE project_person (
    project_id    int         NOT NULL,
    person_id     uuid        NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    suppressed_at timestamptz,
    erased_at     timestamptz,
    PRIMARY KEY (project_id, person_id)
);
COMMENT ON COLUMN project_person.suppressed_at IS 'Since when nothing more is recorded of this person.';
COMMENT ON COLUMN project_person.erased_at IS 'Outlives the person: what arrives late of them is refused.';

GRANT SELECT, INSERT, UPDATE (suppressed_at, erased_at) ON project_person TO registration_writer;
    """)


def downgrade() -> None:
    """Which persons were erased or suppressed is lost. Their personal data is in the other databases, and stays."""
    op.execute("DROP TABLE project_person")
