"""What the public service reads of a project: also the threshold of its index of satisfaction (apdex).

Release 0.1.0 runs beside this revision during an upgrade, and reads nothing of it.
"""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """A column at the end of a view: nothing that reads the view has to change."""
    op.execute("""
CREATE OR REPLACE VIEW stats.project AS
    SELECT project_id, project_key, name, timezone, is_active, apdex_threshold_ms FROM project;
    """)


def downgrade() -> None:
    """A view never loses a column in place, so it is made again, with its rights."""
    op.execute("""
DROP VIEW stats.project;
CREATE VIEW stats.project AS
    SELECT project_id, project_key, name, timezone, is_active FROM project;
GRANT SELECT ON stats.project TO stats_reader, registration_writer;
    """)
