"""How many requests clients dropped before they reached the product."""

from datetime import datetime

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

DROPPED = """
    SELECT coalesce(sum(dropped_count), 0)::bigint
      FROM stats.dropped_event
     WHERE project_id = %(project_id)s
       AND kind = 'api_requests'
       AND bucket_start >= %(start)s
       AND bucket_start < %(end)s
"""


def dropped_requests(conn: Connection, project_id: int, start: datetime, end: datetime) -> int:
    """Add up the quarters of an hour that begin in [start, end). They are those of the batches that told of it."""
    [found] = fetch_all(conn, DROPPED, {"project_id": project_id, "start": start, "end": end}, int)
    return found
