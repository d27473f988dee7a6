"""The databases of other systems, beside ours on the cluster of the tests."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extras import execute_values

from tests.servers import Cluster

# The rows of these tests are older than events are kept by default.
FOR_EVER = {"RETENTION_DAYS": "0"}


@contextmanager
def old_database(cluster: Cluster, *tables: str) -> Iterator[str]:
    """The URL of a new database with these tables."""
    with cluster.new_database() as name:
        url = cluster.admin_url(name)
        execute(url, *tables)
        yield url


def execute(url: str, *statements: str) -> None:
    """Run statements in the database of a system."""
    with closing(psycopg2.connect(url)) as conn, conn, conn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def insert(url: str, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows: `statement` has one %s after VALUES."""
    with closing(psycopg2.connect(url)) as conn, conn, conn.cursor() as cursor:
        execute_values(cursor, statement, rows)
