"""Finds the number of the device that the path of a request names."""

from functools import partial

from fastapi import Request

from contract.devices import DEVICE_NOT_FOUND
from servicekit.database.pool import Database
from servicekit.errors import DomainError, NotFound, NotRecorded
from statistics_api.access.key_cache import KeyCache
from statistics_api.devices import queries

READ_SECONDS_MAX = 3.0
_BETWEEN = " "  # not in the number of a project


class KnownDevices:
    """The numbers of devices that this process remembers, for at most 30 seconds.

    A notification of the database makes it forget a deleted device at once. A notification can be lost; the private
    service asks in each transaction whether the device exists, so nothing is recorded for one that is gone.
    """

    def __init__(self, database: Database) -> None:
        async def read(key: str) -> tuple[int, ...]:
            project_id, _, device_id = key.partition(_BETWEEN)
            work = partial(queries.numbers, project_id=int(project_id), device_id=device_id)
            return await database.run(work, READ_SECONDS_MAX)

        self._cache = KeyCache(read)

    async def number(self, project_id: int, device_id: str) -> int:
        """Return the number of a device.

        Raises:
            NotFound: the project has no such device.
            NotRecorded: it is not remembered, and the database cannot be asked.
        """
        found = await self._cache.get(f"{project_id}{_BETWEEN}{device_id}")
        if not found:
            # It may be created at any time, also by another process, and is then measured at once.
            self.forget(project_id, device_id)
            raise NotFound(DEVICE_NOT_FOUND)
        return found[0]

    def remembered(self, project_id: int, device_id: str) -> int | None:
        """Return the same without a read, or None if the device is not remembered."""
        found = self._cache.remembered(f"{project_id}{_BETWEEN}{device_id}")
        return found[0] if found else None

    async def refusal(self, project_id: int, device_id: str, number: int, error: DomainError) -> DomainError:
        """Return what to tell a client whose event for this device was refused: the device that this process remembers
        may have been deleted a moment ago. Raises as `number`.
        """
        self.forget(project_id, device_id)
        if await self.number(project_id, device_id) == number:
            return error
        return NotRecorded("the device was just replaced by another one with this id")

    def forget(self, project_id: int | str, device_id: str) -> None:
        """Ask the database for this device at its next use."""
        self._cache.forget(f"{project_id}{_BETWEEN}{device_id}")


def known_devices(request: Request) -> KnownDevices:
    """The known devices of this process."""
    devices: KnownDevices = request.state.devices
    return devices
