"""The inbox of a running service: events are stored in it, and it is drained."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from device_registration_api.events.table import EventTable
from device_registration_api.inbox.draining import Drain
from device_registration_api.inbox.storing import Inbox
from servicekit.database.pool import Database
from servicekit.metrics.cells import Cells


@asynccontextmanager
async def running_inbox(
    database: Database | None, main: Database, tables: Sequence[EventTable[Any]], slot: int, cells: Cells
) -> AsyncIterator[Inbox | None]:
    """Drain the inbox in this database into `main` until the block ends. Without a database, there is no inbox."""
    if database is None:
        yield None
        return
    inbox = Inbox(database)
    drain = Drain(inbox, main, tables, slot, cells)
    draining = asyncio.create_task(drain.run())
    try:
        yield inbox
    finally:
        # A step that is under way uses both databases, from a thread that waits for this loop.
        drain.stop()
        await draining
        database.close()
