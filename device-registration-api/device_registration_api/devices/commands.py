"""Creates, changes and deletes devices. Callers own the transaction; `maintain` removes the facts of a deleted one."""

from typing import NamedTuple
from uuid import UUID

from psycopg2 import errors

from contract.devices import DEVICE_EXISTS, DEVICE_NOT_FOUND, USER_NOT_FOUND, Device, DeviceChange, DeviceDraft
from servicekit.database import Connection
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import Conflict, NotFound

INSERT = """
    INSERT INTO device (project_id, device_id, name, person_id)
    VALUES (%(project_id)s, %(device_id)s, %(name)s, %(person_id)s::uuid)
    RETURNING device_number, device_id, name, person_id::text
"""
# Locked until the commit, so that the erasure of the person sees the device.
LOCK_PERSON = """
    SELECT person_id::text
      FROM project_person
     WHERE project_id = %(project_id)s AND person_id = %(person_id)s::uuid AND erased_at IS NULL
       FOR SHARE
"""
LOCK = """
    SELECT device_number, device_id, name, person_id::text
      FROM device
     WHERE project_id = %(project_id)s AND device_id = %(device_id)s
       FOR NO KEY UPDATE
"""
UPDATE = """
    UPDATE device
       SET name = %(name)s, person_id = %(person_id)s::uuid
     WHERE project_id = %(project_id)s AND device_number = %(device_number)s
"""
DELETE = """
    WITH deleted AS (
        DELETE FROM device
         WHERE project_id = %(project_id)s AND device_id = %(device_id)s
        RETURNING project_id, device_number)
    INSERT INTO device_deletion (project_id, device_number)
    SELECT project_id, device_number FROM deleted
"""


class _Row(NamedTuple):
    device_number: int
    device_id: str
    name: str | None
    person_id: str | None

    def device(self) -> Device:
        """As clients see it."""
        user_id = None if self.person_id is None else UUID(self.person_id)
        return Device(id=self.device_number, device_id=self.device_id, name=self.name, user_id=user_id)


def create_device(conn: Connection, project_id: int, draft: DeviceDraft) -> Device:
    """Store a device.

    Raises:
        Conflict: the project has a device with this id.
        NotFound: the project has no such user.
    """
    person_id = _locked_person(conn, project_id, draft.user_id)
    parameters = {"project_id": project_id, "device_id": draft.device_id, "name": draft.name, "person_id": person_id}
    try:
        [stored] = fetch_all(conn, INSERT, parameters, _Row)
    except errors.UniqueViolation as error:
        raise Conflict(DEVICE_EXISTS) from error
    return stored.device()


def change_device(conn: Connection, project_id: int, device_id: str, change: DeviceChange) -> Device:
    """Change the fields that are set, and return the device; null clears the name, or unassigns the user.

    Raises:
        NotFound: the project has no such device, or no such user.
    """
    found = fetch_all(conn, LOCK, {"project_id": project_id, "device_id": device_id}, _Row)
    if not found:
        raise NotFound(DEVICE_NOT_FOUND)
    changed = found[0]
    if "name" in change.model_fields_set:
        changed = changed._replace(name=change.name)
    if "user_id" in change.model_fields_set:
        changed = changed._replace(person_id=_locked_person(conn, project_id, change.user_id))
    execute(conn, UPDATE, {"project_id": project_id, **changed._asdict()})
    return changed.device()


def delete_device(conn: Connection, project_id: int, device_id: str) -> None:
    """Delete a device; from now on it does not exist for anyone.

    Raises:
        NotFound: the project has no such device.
    """
    if execute(conn, DELETE, {"project_id": project_id, "device_id": device_id}) == 0:
        raise NotFound(DEVICE_NOT_FOUND)


def _locked_person(conn: Connection, project_id: int, person_id: UUID | None) -> str | None:
    if person_id is None:
        return None
    found: list[str] = fetch_all(conn, LOCK_PERSON, {"project_id": project_id, "person_id": str(person_id)}, str)
    if not found:
        raise NotFound(USER_NOT_FOUND)
    return found[0]
