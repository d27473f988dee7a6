"""After a restore on another server: gives each event an id of a transaction that comes before those of this server."""

from collections.abc import Sequence

from psycopg2 import sql

from device_registration_api.maintenance.catalogue import FactTable
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all

NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
# As those from before the column have it.
NUMBER = sql.SQL("UPDATE {fact} SET commit_xid = 0 WHERE commit_xid >= %(ends)s")


def number_restored(conn: Connection, tables: Sequence[FactTable]) -> int:
    """Number the events of another server, as the owner of the tables, and return how many there were."""
    [ends] = fetch_all(conn, NEXT_TRANSACTION, {}, int)
    return sum(execute(conn, NUMBER.format(fact=table.table()), {"ends": ends}) for table in tables)
