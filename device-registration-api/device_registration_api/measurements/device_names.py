"""Finds the ids of devices, as clients know them, by their numbers. Neither of a device changes."""

from collections.abc import Sequence
from typing import TypeAlias

from device_registration_api.events.json_parameter import as_json
from device_registration_api.events.remembered import Remembered
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

# Of about 200 bytes each.
DEVICES_REMEMBERED = 50_000

# The project and the number.
Device: TypeAlias = tuple[int, int]

READ = """
    SELECT project_id, device_number, device_id
      FROM device
      JOIN json_to_recordset(%(devices)s::json) AS sent(project_id int, device_number bigint)
           USING (project_id, device_number)
"""


class DeviceNames:
    """The ids that this process remembers. Used by several threads."""

    def __init__(self) -> None:
        self._known = Remembered[Device, str](DEVICES_REMEMBERED)

    def of(self, lease: Lease, devices: Sequence[Device]) -> list[str | None]:
        """Return the id of each device; None where there is no such device (any more)."""
        asked = dict.fromkeys(devices)
        found = self._known.of(asked)
        unknown = [each for each in asked if each not in found]
        if unknown:
            sent = [{"project_id": project_id, "device_number": number} for project_id, number in unknown]
            with lease.transaction() as conn:
                read = dict(fetch_all(conn, READ, {"devices": as_json(sent)}, _named))
            self._known.add(read)
            found |= read
        return [found.get(each) for each in devices]


def _named(project_id: int, number: int, device_id: str) -> tuple[Device, str]:
    return (project_id, number), device_id
