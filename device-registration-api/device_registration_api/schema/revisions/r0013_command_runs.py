"""When the commands of operators last ended well, and what they found; metrics show it.

Older releases run beside this revision, and neither read nor write it.
"""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """No command has been recorded yet; `maintain` records its next round."""
    op.execute(r"""
-- When a command of the operator last ended well, and how much it found that should not be; metrics show it.
CREATE TABLE maintenance.command_run (
    command  text        PRIMARY KEY,
    ended_at timestamptz NOT NULL,
    findings bigint      NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON maintenance.command_run TO registration_writer;
    """)


def downgrade() -> None:
    """What is known of past runs is lost."""
    op.execute("DROP TABLE maintenance.command_run")
