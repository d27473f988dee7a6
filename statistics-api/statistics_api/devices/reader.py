"""Reads devices of a project, with what each measured last."""

from functools import partial

from contract.devices import DEVICE_NOT_FOUND, Device, ListedDevice
from servicekit.database.pool import Database
from servicekit.errors import NotFound
from statistics_api.devices import queries
from statistics_api.devices.queries import Page

NAME = "devices"
READ_SECONDS_MAX = 3.0


class DeviceReader:
    """The reads of one process. Each raises NotRecorded when the database cannot be asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def devices(self, project_id: int, page: Page) -> list[ListedDevice]:
        """Return devices of a project, the one that was created first before the others."""
        return await self._database.run(partial(queries.devices, project_id=project_id, page=page), READ_SECONDS_MAX)

    async def device(self, project_id: int, device_id: str) -> Device:
        """Return one device. Raises NotFound if the project has none with this id."""
        found = await self.devices(project_id, Page(device_id=device_id))
        if not found:
            raise NotFound(DEVICE_NOT_FOUND)
        return queries.unlisted(found[0])
