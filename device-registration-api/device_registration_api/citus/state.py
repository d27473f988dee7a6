"""What a connection's database says of its nodes. Citus is PostgreSQL's extension for tables on several servers."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

HAS_CITUS = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
DISTRIBUTED = "SELECT logicalrelid::regclass::text FROM pg_dist_partition WHERE partmethod = 'h'"
WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY nodeid"

_KNOWN = WeakKeyDictionary[Connection, bool]()


class Node(NamedTuple):
    """A server, as the other nodes reach it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def has_citus(conn: Connection) -> bool:
    """Return whether tables of this database may be on several nodes; asked once for each connection."""
    known = _KNOWN.get(conn)
    if known is None:
        [known] = fetch_all(conn, HAS_CITUS, {}, bool)
        _KNOWN[conn] = known
    return known


def distributed_tables(conn: Connection) -> set[str]:
    """Return the names of the tables that are distributed by a hash; none without Citus."""
    return set(fetch_all(conn, DISTRIBUTED, {}, str)) if has_citus(conn) else set()


def workers(conn: Connection) -> list[Node]:
    """Return the nodes beside the coordinator; none without Citus."""
    return fetch_all(conn, WORKERS, {}, Node) if has_citus(conn) else []
