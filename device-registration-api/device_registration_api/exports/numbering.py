"""After a restore on another server: gives each event an id of a transaction that comes before those of this server."""

from collections.abc import Sequence

from psycopg2 import sql

from device_registration_api.maintenance.catalogue import FactTable
from servicekit.database import Connection
from servicekit.database.sql import execute

# As those from before the column have it. The snapshot is that of the statement itself: all that it sees of this server
# is older, also what writers have recorded since `migrate` began.
NUMBER = sql.SQL("""
    UPDATE {fact} SET commit_xid = 0 WHERE commit_xid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint
""")


def number_restored(conn: Connection, tables: Sequence[FactTable]) -> int:
    """Number the events of another server, as the owner of the tables, and return how many there were."""
    return sum(execute(conn, NUMBER.format(fact=table.table()), {}) for table in tables)
