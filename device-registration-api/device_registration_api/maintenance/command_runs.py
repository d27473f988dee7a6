"""Remembers when the commands of operators last ended, for the metrics."""

from servicekit.database import Connection
from servicekit.database.sql import execute

MAINTAIN = "maintain"
VERIFY_COUNTS = "verify-counts"

RECORD_RUN = """
    INSERT INTO maintenance.command_run (command, ended_at, findings)
    VALUES (%(command)s, now(), %(findings)s)
        ON CONFLICT (command) DO UPDATE SET ended_at = excluded.ended_at, findings = excluded.findings
"""


def record_run(conn: Connection, command: str, findings: int = 0) -> None:
    """Remember that a command has ended now, and how much it found that should not be. Commits."""
    with conn:
        execute(conn, RECORD_RUN, {"command": command, "findings": findings})
