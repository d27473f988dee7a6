"""Reads of devices: SELECT from the `stats` schema and nothing else."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from contract.devices import Device, LatestMeasurement, ListedDevice
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

NUMBER = """
    SELECT device_number FROM stats.device WHERE project_id = %(project_id)s AND device_id = %(device_id)s
"""
DEVICES = """
    SELECT device_number, device_id, name, person_id::text, occurred_at, x, y, z
      FROM (SELECT project_id, device_number, device_id, name, person_id
              FROM stats.device
             WHERE project_id = %(project_id)s
               AND (%(device_id)s::text IS NULL OR device_id = %(device_id)s)
             ORDER BY device_number
             LIMIT %(limit)s
            OFFSET %(skip)s) AS page
      LEFT JOIN stats.device_latest USING (project_id, device_number)
     ORDER BY device_number
"""


class Page(NamedTuple):
    """Which devices are read: `limit` of them after the first `skip`, or the one with this id."""

    skip: int = 0
    limit: int = 1
    device_id: str | None = None


def numbers(lease: Lease, project_id: int, device_id: str) -> tuple[int, ...]:
    """Return the number of the device with this id, or nothing."""
    with lease.transaction() as conn:
        return tuple(fetch_all(conn, NUMBER, {"project_id": project_id, "device_id": device_id}, int))


def devices(lease: Lease, project_id: int, page: Page) -> list[ListedDevice]:
    """Return devices of a project, the one that was created first before the others."""
    with lease.transaction() as conn:
        return fetch_all(conn, DEVICES, {"project_id": project_id, **page._asdict()}, _listed)


def unlisted(device: ListedDevice) -> Device:
    """Return what a single device is shown as."""
    return Device(**{name: getattr(device, name) for name in Device.model_fields})


def _listed(
    number: int, device_id: str, name: str | None, person_id: str | None, at: datetime | None, *axes: float
) -> ListedDevice:
    x, y, z = axes
    return ListedDevice(
        id=number,
        device_id=device_id,
        name=name,
        user_id=None if person_id is None else UUID(person_id),
        last_seen=at,
        latest=None if at is None else LatestMeasurement(x=x, y=y, z=z, timestamp=at),
    )
