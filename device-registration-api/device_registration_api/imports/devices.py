"""Makes the devices that imported measurements are of."""

from collections.abc import Mapping, Sequence

from contract.devices import DeviceDraft
from device_registration_api.events.json_parameter import as_json
from device_registration_api.imports.target import Target
from servicekit.database.sql import execute, fetch_all

INSERT_DEVICES = """
    INSERT INTO device (project_id, device_id, name, person_id)
    SELECT %(project_id)s, device_id, name, user_id
      FROM json_to_recordset(%(devices)s::json) AS sent(place int, device_id text, name text, user_id uuid)
     ORDER BY place
        ON CONFLICT (project_id, device_id) DO NOTHING
"""
FIND_DEVICES = """
    SELECT device_id, device_number
      FROM device
     WHERE project_id = %(project_id)s AND device_id = ANY(%(device_ids)s)
"""


# The number of no device: of one that a dry run would make, or that was deleted meanwhile. The database refuses it.
NO_DEVICE = 0


def make_devices(target: Target, project_id: int, drafts: Sequence[DeviceDraft]) -> tuple[set[str], dict[str, int]]:
    """Make the devices that are not there. Returns the ids of those that were, and the numbers of all.

    A dry run makes none: the number is NO_DEVICE.
    """
    device_ids = [each.device_id for each in drafts]
    named = {"project_id": project_id, "device_ids": device_ids}
    sent = [{"place": place, **each.model_dump()} for place, each in enumerate(drafts)]
    with target.conn:
        before = _numbers(target, named)
        if not target.is_dry_run:
            execute(target.conn, INSERT_DEVICES, named | {"devices": as_json(sent)})
        return set(before), dict.fromkeys(device_ids, NO_DEVICE) | _numbers(target, named)


def _numbers(target: Target, named: Mapping[str, object]) -> dict[str, int]:
    return dict(fetch_all(target.conn, FIND_DEVICES, named, lambda device_id, number: (device_id, number)))
