"""Checks that the schema of the database is the one that this release needs, or a newer one."""

from typing import NamedTuple

from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.errors import NotRecorded

_CURRENT_REVISION = """
    SELECT revision
      FROM stats.schema_revision
"""


class _Revision(NamedTuple):
    revision: str


async def check_schema(database: Database, needed: str, seconds_max: float) -> str:
    """Return the revision of the database, as a sentence for `/readyz`.

    Revisions are zero-padded numbers, so their order as text is their order as numbers. A newer schema is accepted,
    because each change expands the schema in one release and contracts it in a later one.

    Raises:
        NotRecorded: the database cannot be reached, or its schema is older than `needed`.
    """
    found = await database.run(_read_revision, seconds_max)
    if found < needed:
        raise NotRecorded(f"schema {found or 'none'}, needs {needed}")
    return f"ok, schema {found}"


def _read_revision(lease: Lease) -> str:
    with lease.transaction() as conn:
        rows = fetch_all(conn, _CURRENT_REVISION, {}, _Revision)
    return rows[0].revision if rows else ""
