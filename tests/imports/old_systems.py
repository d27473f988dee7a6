"""Databases as the four systems make them: their tables, written for these tests from their published schemas."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extras import execute_values

from tests.servers import Cluster

DEVICE_STATISTICS_API = """
    CREATE TABLE device_registrations (
        id serial PRIMARY KEY,
        user_key varchar(255) NOT NULL,
        device_type varchar(50) NOT NULL,
        created_at timestamp DEFAULT CURRENT_TIMESTAMP);
    CREATE INDEX ON device_registrations (device_type);
"""


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
