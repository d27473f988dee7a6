"""Imports files that an export has written (docs/export.md): the events of one kind each, with their ids and times."""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic_core import from_json

from contract.api_requests.events import ApiRequest
from contract.auth_events.columns import AuthEventColumns
from contract.auth_events.events import AuthEvent
from contract.delivery import Event, EventColumns
from contract.devices import DeviceDraft
from contract.exports import CHECKPOINT, END, ROWS
from contract.measurements.events import Measurement, MeasurementColumns
from contract.store_events.columns import StoreEventColumns
from contract.store_events.events import StoreEvent
from device_registration_api.api_requests.addresses import HEX_PREFIX, HashedColumns
from device_registration_api.api_requests.commands import API_REQUESTS
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.rows import Rows
from device_registration_api.events.table import EventTable
from device_registration_api.imports.devices import make_devices
from device_registration_api.imports.recorder import Chunk
from device_registration_api.imports.report import TableReport
from device_registration_api.imports.run import Job
from device_registration_api.imports.source import CHUNK_ROWS, NO_TIME, Times
from device_registration_api.imports.validation import read
from device_registration_api.measurements.commands import MEASUREMENTS
from device_registration_api.schema.connect import CommandError
from device_registration_api.store_events.commands import STORE_EVENTS
from servicekit.database.copy_encoding import Repeated
from servicekit.http.csv_text import as_sent
from servicekit.process import clock

SYSTEM = "export"
_GZIP = b"\x1f\x8b"
_EVENT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_HASH = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)
_NO_ID = "eventId: must be the id of an event, as it was exported"
_NO_HASH = "ip_hash: must be hexadecimal"
_NO_DEVICE_ID = "device_id: is not what an export writes"
_NO_END = (
    " has no end: it was cut off, or written before exports had one. Keep it up to its last checkpoint, go on from "
    "there, and append that; or repeat with --incomplete to store what is there"
)
_NO_LINE = "is no line of an export, or is cut off"

# A row by the names of its fields.
Row = Mapping[str, Any]


class _Kind(NamedTuple):
    """How the rows of one kind are read. `numbers` and `objects` are fields that are no text; in CSV all are."""

    table: EventTable[Any]
    event: type[Event]
    received_at: str
    columns: "Callable[[Job, int, Sequence[Row], Sequence[Any]], EventColumns]"
    numbers: Mapping[str, Callable[[str], float]] = {}
    objects: frozenset[str] = frozenset()
    # Returns why a row is refused for what its event does not have.
    refuse: "Callable[[Row], str | None]" = lambda _: None
    # Fields of the event that the path of a request gives, and no row has; any valid values.
    path_fields: Mapping[str, object] = {}


class File(NamedTuple):
    """A file that is whole, with the number of its rows."""

    path: Path
    kind: _Kind
    rows: int


class _End:
    """Finds out whether a file has the end of an export, and as many rows as that says.

    Parts of an export may follow each other, each from a checkpoint of the one before.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows = 0
        self._is_there = False
        # The part that ends may have begun behind any of these numbers of rows.
        self._begins = {0}

    def row(self) -> None:
        self._rows += 1
        self._is_there = False

    def checkpoint(self, *, is_end: bool, rows: int | None) -> None:
        """Raises CommandError."""
        if is_end and rows is not None and self._rows - rows not in self._begins:
            message = (
                f"{self._path} has other rows before an end than the {rows} that it counts: some are missing, or come "
                "twice. Parts of an export follow each other from checkpoint to checkpoint; or repeat with --incomplete"
            )
            raise CommandError(message)
        self._is_there = is_end
        self._begins = {self._rows} if is_end else self._begins | {self._rows}

    def check(self) -> None:
        """Raises CommandError."""
        if self._rows and not self._is_there:
            raise CommandError(f"{self._path}{_NO_END}")


class _AnyEnd(_End):
    """Of a file that need not be whole, and of one that was read before."""

    def checkpoint(self, *, is_end: bool, rows: int | None) -> None: ...

    def check(self) -> None: ...


def checked_files(paths: Sequence[str], *, are_incomplete: bool = False) -> list[File]:
    """Read each file to its end. Nothing is stored of any, if one of them is damaged.

    With `are_incomplete`, a file may lack the end of its export.

    Raises:
        CommandError: a file cannot be read, is cut off, is no export, or has other fields than a kind of ours.
    """
    files = []
    for path in map(Path, paths):
        rows = _rows_of(path, _AnyEnd(path) if are_incomplete else _End(path))
        first = next(rows, None)
        if first is None:
            message = f"{path} has no events"
            raise CommandError(message)
        kind = _KINDS.get(frozenset(first[1]))
        if kind is None:
            message = f"{path} is no export of events: its fields are {', '.join(map(repr, first[1]))}"
            raise CommandError(message)
        number = 0
        for line, row in chain([first], rows):
            if row.keys() != first[1].keys():
                message = f"{path}, line {line}: has other fields than the lines before"
                raise CommandError(message)
            number += 1
        files.append(File(path, kind, number))
    return files


async def import_all(job: Job, files: Sequence[File]) -> None:
    """Store the events of the files in the project. Raises as `Recorder.add`, and CommandError."""
    project_id = job.target.project(job.project_key)
    times = Times(UTC, clock.now())
    for file in files:
        report = job.begin(str(file.path), file.rows)
        recorder = job.recorder(file.kind.table, report)
        rows = _rows_of(file.path, _AnyEnd(file.path))
        while some := list(islice(rows, CHUNK_ROWS)):
            await recorder.add(_chunk(job, report, file.kind, project_id, times, some))
        await recorder.finish()


def _chunk(
    job: Job, report: TableReport, kind: _Kind, project_id: int, times: Times, lines: Sequence[tuple[int, Row]]
) -> Chunk[Any]:
    ids: list[int] = []
    rows: list[Row] = []
    events: list[Any] = []
    received: list[datetime] = []
    event_ids: dict[str, None] = {}
    for line, sent in lines:
        row = _parsed(kind, sent)
        event = row if isinstance(row, str) else read(kind.event, {**kind.path_fields, **row})
        if isinstance(row, str) or isinstance(event, str):
            report.refuse(line, str(event))
            continue
        at = times.instant(_time(row[kind.received_at]))
        event_id = str(row["eventId"])
        refusal = kind.refuse(row)
        if not _EVENT_ID.fullmatch(event_id):
            report.refuse(line, _NO_ID)
        elif at is None:
            report.refuse(line, NO_TIME)
        elif refusal is not None:
            report.refuse(line, refusal)
        elif event_id in event_ids:
            report.duplicate += 1
        else:
            event_ids[event_id] = None
            ids.append(line)
            rows.append(row)
            events.append(event)
            received.append(at)
    job.progress.advance(len(lines) - len(ids))
    happened = {
        place: event.occurred_at
        for place, event in enumerate(events)
        if event.occurred_at is not None and event.occurred_at != received[place]
    }
    columns = kind.columns(job, project_id, rows, events)
    return Chunk(ids, Rows(Repeated(project_id, len(ids)), received, [*event_ids], columns, happened, {}))


def _auth_events(_: Job, __: int, ___: Sequence[Row], events: Sequence[AuthEvent]) -> AuthEventColumns:
    return AuthEventColumns.model_construct(
        user_keys=[each.user_key for each in events], device_types=[each.device_type for each in events]
    )


def _api_requests(_: Job, __: int, rows: Sequence[Row], events: Sequence[ApiRequest]) -> HashedColumns:
    hashes = {place: f"{HEX_PREFIX}{row['ip_hash']}" for place, row in enumerate(rows) if row["ip_hash"] is not None}
    return HashedColumns.model_construct(
        url_paths=[each.url_path for each in events],
        methods=[each.method for each in events],
        status_codes=[each.response_status_code for each in events],
        response_us=[each.response_us for each in events],
        user_agents=[each.user_agent for each in events],
        consumers=[each.consumer for each in events],
        ips={},
        ip_hashes=hashes,
    )


def _measurements(job: Job, project_id: int, rows: Sequence[Row], events: Sequence[Measurement]) -> MeasurementColumns:
    """A device that is not there is made, without a name and a user."""
    drafts = [DeviceDraft(device_id=name) for name in dict.fromkeys(row["device_id"] for row in rows)]
    _, numbers = make_devices(job.target, project_id, drafts)
    return MeasurementColumns.model_construct(
        device_numbers=[numbers[row["device_id"]] for row in rows],
        xs=[each.x for each in events],
        ys=[each.y for each in events],
        zs=[each.z for each in events],
    )


def _refuse_hash(row: Row) -> str | None:
    found = row["ip_hash"]
    return None if found is None or (isinstance(found, str) and _HASH.fullmatch(found)) else _NO_HASH


def _refuse_device(row: Row) -> str | None:
    draft = read(DeviceDraft, {"device_id": row["device_id"]})
    return None if isinstance(draft, DeviceDraft) and draft.device_id == row["device_id"] else _NO_DEVICE_ID


def _store_events(_: Job, __: int, ___: Sequence[Row], events: Sequence[StoreEvent]) -> StoreEventColumns:
    """A user has to be there: an export of events has none of the user's data."""
    return StoreEventColumns.model_construct(
        types=[each.type for each in events],
        user_ids=[each.user_id for each in events],
        data=[each.data for each in events],
    )


_AXES: Mapping[str, Callable[[str], float]] = {"x": float, "y": float, "z": float}
_KINDS: Mapping[frozenset[str], _Kind] = {
    frozenset(kind.table.exported): kind
    for kind in (
        _Kind(AUTH_EVENTS, AuthEvent, "receivedAt", _auth_events),
        _Kind(
            API_REQUESTS,
            ApiRequest,
            "received_at",
            _api_requests,
            {"response_status_code": int, "response_time_ms": float},
            refuse=_refuse_hash,
        ),
        _Kind(
            MEASUREMENTS,
            Measurement,
            "received_at",
            _measurements,
            _AXES,
            refuse=_refuse_device,
            path_fields={"device_number": 1},
        ),
        _Kind(STORE_EVENTS, StoreEvent, "received_at", _store_events, {"id": int}, frozenset({"data"})),
    )
}
KINDS = tuple(kind.table for kind in _KINDS.values())


def _parsed(kind: _Kind, row: Row) -> Row | str:
    """Return a row with numbers and objects in place of the texts that CSV has, or why it is refused."""
    parsed = dict(row)
    try:
        for name, number in kind.numbers.items():
            if isinstance(parsed[name], str):
                parsed[name] = number(parsed[name])
        for name in kind.objects:
            if isinstance(parsed[name], str):
                parsed[name] = json.loads(parsed[name])
    except ValueError:
        return f"{name}: is not what an export writes"
    return parsed


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _rows_of(path: Path, end: _End) -> Iterator[tuple[int, Row]]:
    """Return the rows of a file with the numbers of their lines, without checkpoints. Raises CommandError."""
    try:
        with _opened(path) as file:
            begins = file.peek(1)[:1]
            yield from _rows_of_lines(path, file, end) if begins == b"{" else _rows_of_csv(path, file, end)
            end.check()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        message = f"{path} is cut off or damaged: {error}"
        raise CommandError(message) from error
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise CommandError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path} has text that is not UTF-8"
        raise CommandError(message) from error


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedReader]:
    with path.open("rb") as raw:
        if raw.peek(len(_GZIP))[: len(_GZIP)] != _GZIP:
            yield raw
            return
        with gzip.GzipFile(fileobj=raw) as plain:
            yield io.BufferedReader(cast("io.RawIOBase", plain))  # which reads it in the same way


def _rows_of_lines(path: Path, file: io.BufferedReader, end: _End) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(file, start=1):
        try:
            row = from_json(line)
        except ValueError:
            row = None
        if not line.endswith(b"\n") or not isinstance(row, dict):
            message = f"{path}, line {number}: {_NO_LINE}"
            raise CommandError(message)
        if CHECKPOINT in row:
            rows = row.get(ROWS)
            end.checkpoint(is_end=bool(row.get(END)), rows=rows if isinstance(rows, int) else None)
        else:
            end.row()
            yield number, row


def _rows_of_csv(path: Path, file: io.BufferedReader, end: _End) -> Iterator[tuple[int, Row]]:
    last = ""

    def remembered(line: str) -> str:
        nonlocal last
        last = line
        return line

    reader = csv.reader(map(remembered, io.TextIOWrapper(file, encoding="utf-8", newline="")), strict=True)
    try:
        names = next(reader, [])
        for cells in reader:
            if len(cells) != len(names):
                message = f"{path}, line {reader.line_num}: has {len(cells)} fields and not {len(names)}"
                raise CommandError(message)
            if cells == names:  # of a part that was appended
                continue
            row = dict(zip(names, cells, strict=True))
            checkpoint, rows = row.pop(CHECKPOINT, ""), row.pop(ROWS, "")
            if checkpoint:
                end.checkpoint(is_end=bool(rows), rows=int(rows) if rows.isdecimal() else None)
            else:
                end.row()
                yield reader.line_num, {name: as_sent(cell) if cell else None for name, cell in row.items()}
    except csv.Error as error:
        message = f"{path}, line {reader.line_num}: {_NO_LINE}"
        raise CommandError(message) from error
    if last and not last.endswith("\n"):
        message = f"{path} is cut off in its last line"
        raise CommandError(message)
