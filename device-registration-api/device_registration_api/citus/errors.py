"""What a node says of a row that it refuses. Nodes report errors to each other without the name of the constraint, and
name tables and constraints as their shards are named: with the shard's number behind them.
"""

import re
from collections.abc import Iterable

import psycopg2

from device_registration_api.citus.state import has_citus
from servicekit.database import Connection
from servicekit.database.sql import fetch_all

# Of the partitions, too: each has the keys of its table under a name of its own.
CONSTRAINTS = """
    SELECT DISTINCT conname::text FROM pg_constraint
     WHERE conrelid IN (SELECT relid FROM pg_partition_tree(%(table)s))
"""


def constraint_name(conn: Connection, table: str, error: psycopg2.Error) -> str | None:
    """Return the name of the constraint of `table` that an error is about; None when it is about none.

    On one server the server names it. The connection's transaction must be fit for a statement.
    """
    sentence = error.diag.message_primary
    if error.diag.constraint_name is not None or sentence is None or not has_citus(conn):
        return error.diag.constraint_name
    return name_in(sentence, fetch_all(conn, CONSTRAINTS, {"table": table}, str))


def name_in(sentence: str, names: Iterable[str]) -> str | None:
    """Return the longest of these names that a sentence has as a whole word, with or without the number of a shard.

    The sentence is in the language of the server, so only the names are looked for.
    """
    found = [name for name in names if re.search(rf"(?<!\w){re.escape(name)}(_\d+)?(?!\w)", sentence)]
    return max(found, key=len, default=None)
