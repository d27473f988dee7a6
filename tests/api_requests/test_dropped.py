"""What the public service reads of dropped requests."""

from datetime import UTC, datetime, timedelta

from servicekit.database import Connection
from servicekit.database.sql import execute
from statistics_api.api_requests.dropped import dropped_requests

INSERT = """
    INSERT INTO dropped_event (project_id, kind, bucket_start, dropped_count)
    VALUES (1, 'api_requests', '2026-11-01 10:00Z', 3), (1, 'api_requests', '2026-11-01 10:15Z', 4),
           (1, 'auth_events', '2026-11-01 10:15Z', 50), (2, 'api_requests', '2026-11-01 10:15Z', 60)
"""


def test_the_quarters_that_begin_in_the_range_are_added_up(conn: Connection) -> None:
    execute(conn, INSERT, {})
    ten = datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert dropped_requests(conn, 1, ten, ten + timedelta(minutes=30)) == 7
    assert dropped_requests(conn, 1, ten, ten + timedelta(minutes=15)) == 3
    assert dropped_requests(conn, 1, ten + timedelta(minutes=30), ten + timedelta(hours=1)) == 0
