"""Reads stores: SELECT from the `stats` schema and nothing else."""

from functools import partial

from contract.stores import Store
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from statistics_api.pages import Page

READ_SECONDS_MAX = 3.0

STORES = """
    SELECT project_id, name, is_active
      FROM stats.project
     ORDER BY project_id
    OFFSET %(offset)s LIMIT %(limit)s
"""


class StoresReader:
    """The reads of one process. Each raises NotRecorded when the database cannot be asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stores(self, page: Page) -> list[Store]:
        """Return the stores of the installation, the oldest first."""
        return await self._database.run(partial(_stores, page=page), READ_SECONDS_MAX)


def _stores(lease: Lease, page: Page) -> list[Store]:
    with lease.transaction() as conn:
        return fetch_all(
            conn,
            STORES,
            page._asdict(),
            lambda number, name, is_active: Store(id=number, name=name, is_active=is_active),
        )
