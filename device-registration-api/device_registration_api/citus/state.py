"""What a connection's database says of its nodes. Citus is PostgreSQL's extension for tables on several servers."""

from typing import LiteralString, NamedTuple
from weakref import WeakKeyDictionary

from servicekit.database import Connection
from servicekit.database.sql import fetch_all

HAS_CITUS = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
DISTRIBUTED = "SELECT logicalrelid::regclass::text FROM pg_dist_partition WHERE partmethod = 'h'"
WORKERS = "SELECT nodename, nodeport FROM pg_dist_node WHERE groupid <> 0 ORDER BY nodeid"

_RUNNING: LiteralString = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# Citus commits on the coordinator first and then on the workers, after a while if one of them is away. Its record of
# such a commit is written in the same transaction, whose id is its xmin, and stays until no worker has a part of it
# that is only prepared. An xmin has the last 32 bits of an id.
_RUNNING_ON_NODES: LiteralString = f"""
    least({_RUNNING},
          (SELECT min(next_id - mod(next_id - undecided.xmin::text::bigint, (2 ^ 32)::bigint))
             FROM pg_catalog.pg_dist_transaction AS undecided
            CROSS JOIN (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_id) AS following))
"""  # noqa: S608 - of constants of this file

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


def horizon_of(conn: Connection) -> LiteralString:
    """Return an expression for the earliest transaction that may still add rows to what a statement sees.

    Whatever belongs to an earlier one is visible to it on every node, or will never be.
    """
    return _RUNNING_ON_NODES if has_citus(conn) else _RUNNING


def distributed_tables(conn: Connection) -> set[str]:
    """Return the names of the tables that are distributed by a hash; none without Citus."""
    return set(fetch_all(conn, DISTRIBUTED, {}, str)) if has_citus(conn) else set()


def workers(conn: Connection) -> list[Node]:
    """Return the nodes beside the coordinator; none without Citus."""
    return fetch_all(conn, WORKERS, {}, Node) if has_citus(conn) else []
