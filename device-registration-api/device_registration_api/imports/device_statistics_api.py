"""Imports the auth events of geeanderson/device-statistics-api (family 1)."""

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString

from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent, DeviceType
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.rows import Rows
from device_registration_api.imports.recorder import Chunk
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.run import Run
from device_registration_api.imports.source import NO_TIME, Row
from device_registration_api.imports.validation import read
from servicekit.database.copy_encoding import Repeated

SYSTEM = "device-statistics-api"
TABLE: LiteralString = "device_registrations"
TABLES = {TABLE: ("id", "user_key", "device_type", "created_at")}
KINDS = (AUTH_EVENTS,)

# A time that Python has no year for arrives as NULL, and is refused as one.
ROWS = """
    SELECT id, user_key, device_type,
           CASE WHEN created_at >= '1970-01-01' AND created_at < '9999-12-30' THEN created_at END
      FROM device_registrations
     ORDER BY id
"""


async def import_all(run: Run) -> None:
    """Store every registration as an auth event of the project. Raises as `Recorder.add`."""
    project_id = run.target.project(run.project_key)
    report = run.report(TABLE)
    recorder = run.recorder(AUTH_EVENTS, report)
    for rows in run.source.chunks(TABLE, ROWS):
        await recorder.add(_chunk(run, report, project_id, rows))
    await recorder.finish()


def _chunk(run: Run, report: TableReport, project_id: int, rows: Sequence[Row]) -> Chunk[AuthEventColumns]:
    ids, user_keys, device_types, times = map(list, zip(*rows, strict=True))
    try:
        instants, columns = run.times.instants(times), AuthEventColumns.parse(user_keys, device_types)
    except ValueError:
        ids, instants, columns = _valid(run, report, rows)
    event_ids = run.identities.texts(TABLE, ids)
    return Chunk(ids, Rows(Repeated(project_id, len(ids)), instants, event_ids, columns, {}, {}))


def _valid(run: Run, report: TableReport, rows: Sequence[Row]) -> tuple[list[int], list[datetime], AuthEventColumns]:
    ids: list[int] = []
    user_keys: list[str] = []
    device_types: list[DeviceType] = []
    instants: list[datetime] = []
    for row_id, user_key, device_type, at in rows:
        instant = run.times.instant(at)
        event = read(AuthEvent, {"user_key": user_key, "device_type": device_type})
        if instant is None:
            report.refuse(row_id, NO_TIME)
        elif isinstance(event, str):
            report.refuse(row_id, event)
        else:
            ids.append(row_id)
            user_keys.append(event.user_key)
            device_types.append(event.device_type)
            instants.append(instant)
    run.progress.advance(len(rows) - len(ids))
    return ids, instants, AuthEventColumns.model_construct(user_keys=user_keys, device_types=device_types)
