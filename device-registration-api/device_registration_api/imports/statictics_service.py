"""Imports users, devices and measurements of yar0slave/statictics_service (family 2)."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from contract.devices import DeviceDraft
from contract.measurements.events import Measurement, MeasurementColumns
from contract.people import UserDraft
from device_registration_api.events.rows import Rows
from device_registration_api.imports.devices import make_devices
from device_registration_api.imports.people import Came, ImportedPerson, PeopleStore
from device_registration_api.imports.recorder import Chunk
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.run import Run
from device_registration_api.imports.source import NO_TIME, Row
from device_registration_api.imports.validation import read
from device_registration_api.measurements.commands import MEASUREMENTS
from device_registration_api.personal.addresses import check_email
from device_registration_api.personal.settings import PeopleSettings
from servicekit.database.copy_encoding import Repeated
from servicekit.errors import Invalid

SYSTEM = "statictics-service"
USERS: LiteralString = "users"
DEVICES: LiteralString = "devices"
STATS: LiteralString = "stats"
TABLES = {
    USERS: ("id", "username", "email"),
    DEVICES: ("id", "device_id", "name", "user_id"),
    STATS: ("id", "device_id", "timestamp", "x", "y", "z"),
}
KINDS = (MEASUREMENTS,)
# A measurement names its device in the path of its request. Whether the device is there is looked up apart.
_ANY_NUMBER = 1

READ_USERS: LiteralString = "SELECT id, username, email FROM users ORDER BY id"
READ_DEVICES: LiteralString = "SELECT id, device_id, name, user_id FROM devices ORDER BY id"
READ_STATS: LiteralString = """
    SELECT id, device_id, x, y, z,
           CASE WHEN timestamp >= '1970-01-01' AND timestamp < '9999-12-30' THEN timestamp END
      FROM stats
     ORDER BY id
"""


@dataclass
class _Known:
    """What was imported, by the ids of the source."""

    project_id: int
    people: dict[int, UUID] = field(default_factory=dict)
    erased: set[int] = field(default_factory=set)
    devices: dict[int, int] = field(default_factory=dict)


async def import_all(run: Run) -> None:
    """Store everything in the project: users first, measurements last. Raises as `Recorder.add`, and CommandError."""
    known = _Known(run.target.project(run.project_key))
    with closing(PeopleStore(run.target.settings, PeopleSettings(), is_dry_run=run.target.is_dry_run)) as people:
        _import_users(run, people, known)
    _import_devices(run, known)
    report = run.report(STATS)
    recorder = run.recorder(MEASUREMENTS, report)
    for rows in run.source.chunks(STATS, READ_STATS):
        await recorder.add(_measurements(run, report, known, rows))
    await recorder.finish()


def _import_users(run: Run, people: PeopleStore, known: _Known) -> None:
    report = run.report(USERS)
    for rows in run.source.chunks(USERS, READ_USERS):
        persons: dict[int, ImportedPerson] = {}
        for row_id, username, email in rows:
            user = _read_user(username, email)
            if isinstance(user, str):
                report.refuse(row_id, user)
            else:
                person_id = run.identities.of(USERS, row_id)
                persons[row_id] = ImportedPerson(person_id, user.model_dump(), str(row_id))
        outcomes = people.store(known.project_id, list(persons.values()), run.target.conn)
        for (row_id, person), came in zip(persons.items(), outcomes, strict=True):
            if report.came(row_id, came):
                known.people[row_id] = person.person_id
            elif came is Came.ERASED:
                known.erased.add(row_id)
        run.progress.advance(len(rows))


def _read_user(username: object, email: object) -> UserDraft | str:
    user = read(UserDraft, {"username": username, "email": email})
    if isinstance(user, UserDraft):
        try:
            check_email(user.email)
        except Invalid:
            return "email: must be an e-mail address"
    return user


def _import_devices(run: Run, known: _Known) -> None:
    report = run.report(DEVICES)
    unassigned = 0
    for rows in run.source.chunks(DEVICES, READ_DEVICES):
        drafts: dict[int, DeviceDraft] = {}
        for row_id, device_id, name, user_id in rows:
            fields = {
                "device_id": device_id,
                "name": name if name and name.strip() else None,
                "user_id": known.people.get(user_id),
            }
            draft = read(DeviceDraft, fields)
            if isinstance(draft, str):
                report.refuse(row_id, draft)
            elif user_id in known.erased:
                # Erased with the user, and so are its measurements.
                report.refuse(row_id, "its user was erased here")
            else:
                drafts[row_id] = draft
                unassigned += user_id is not None and user_id not in known.people
        _store_devices(run, report, known, drafts)
        run.progress.advance(len(rows))
    if unassigned:
        run.notes.append(f"{unassigned} devices have no user, because theirs was refused")


def _store_devices(run: Run, report: TableReport, known: _Known, drafts: Mapping[int, DeviceDraft]) -> None:
    seen, after = make_devices(run.target, known.project_id, [*drafts.values()])
    # Two ids that differ in surrounding white space alone are one device here.
    for row_id, draft in drafts.items():
        known.devices[row_id] = after[draft.device_id]
        report.duplicate += draft.device_id in seen
        report.registered += draft.device_id not in seen
        seen.add(draft.device_id)


def _measurements(run: Run, report: TableReport, known: _Known, rows: Sequence[Row]) -> Chunk[MeasurementColumns]:
    ids, device_ids, *axes, times = map(list, zip(*rows, strict=True))
    try:
        instants = run.times.instants(times)
        columns = MeasurementColumns.parse([known.devices[each] for each in device_ids], *axes)
    except (KeyError, ValueError):
        ids, instants, columns = _valid(run, report, known, rows)
    event_ids = run.identities.texts(STATS, ids)
    return Chunk(ids, Rows(Repeated(known.project_id, len(ids)), instants, event_ids, columns, {}, {}))


def _valid(
    run: Run, report: TableReport, known: _Known, rows: Sequence[Row]
) -> tuple[list[int], list[datetime], MeasurementColumns]:
    ids: list[int] = []
    instants: list[datetime] = []
    numbers: list[int] = []
    measured: list[Measurement] = []
    for row_id, device_id, x, y, z, at in rows:
        instant = run.times.instant(at)
        number = known.devices.get(device_id)
        measurement = read(Measurement, {"device_number": _ANY_NUMBER, "x": x, "y": y, "z": z})
        if isinstance(measurement, str):
            report.refuse(row_id, measurement)
        elif instant is None:
            report.refuse(row_id, NO_TIME)
        elif number is None:
            report.refuse(row_id, "its device was not imported")
        else:
            ids.append(row_id)
            instants.append(instant)
            numbers.append(number)
            measured.append(measurement)
    run.progress.advance(len(rows) - len(ids))
    columns = MeasurementColumns.model_construct(
        device_numbers=numbers,
        xs=[each.x for each in measured],
        ys=[each.y for each in measured],
        zs=[each.z for each in measured],
    )
    return ids, instants, columns
