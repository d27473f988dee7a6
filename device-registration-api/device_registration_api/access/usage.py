"""Adds up how often the API keys were used, as the processes of the public service report it."""

from psycopg2.extras import Json

from contract.access import KeyUses
from servicekit.database import Connection
from servicekit.database.sql import execute

# The rows are locked in one order first: two reports that lock the same keys in different orders would deadlock.
ADD = """
    WITH used AS (
        SELECT k.project_id, k.key_id, u.requests, u.last_used_at
          FROM api_key AS k
          JOIN jsonb_to_recordset(%(uses)s::jsonb)
            AS u(project_id int, key_id text, requests bigint, last_used_at timestamptz) USING (project_id, key_id)
         ORDER BY k.project_id, k.key_id
           FOR NO KEY UPDATE OF k)
    UPDATE api_key AS k
       SET total_requests = k.total_requests + used.requests,
           last_used_at = greatest(k.last_used_at, used.last_used_at)
      FROM used
     WHERE k.project_id = used.project_id AND k.key_id = used.key_id
"""


def add_uses(conn: Connection, uses: KeyUses) -> int:
    """Add the requests to the keys, and return how many keys there are still."""
    return execute(conn, ADD, {"uses": Json(uses.model_dump(mode="json")["uses"])})
