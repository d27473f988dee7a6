"""Reads, from schema `stats`, of what belongs to a person. There is no personal data here."""

from uuid import UUID

from contract.devices import Device
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

DEVICES = """
    SELECT device_number, device_id, name
      FROM stats.device
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid
     ORDER BY device_number
"""


def devices(lease: Lease, project_id: int, person_id: UUID) -> list[Device]:
    """Return the devices of a person, the oldest first."""
    named = {"project_id": project_id, "person_id": str(person_id)}

    def device(number: int, device_id: str, name: str | None) -> Device:
        return Device(id=number, device_id=device_id, name=name, user_id=person_id)

    with lease.transaction() as conn:
        return fetch_all(conn, DEVICES, named, device)
