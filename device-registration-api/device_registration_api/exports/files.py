"""Writes an export to files, on from where the last run has stopped."""

import fcntl
import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from contract.exports import CHECKPOINT_ROWS, ExportFormat
from device_registration_api.exports.formats import FORMS
from device_registration_api.exports.pages import ExportedTable, Transaction, read_page, start
from device_registration_api.exports.parquet import ParquetFile
from device_registration_api.exports.position import Position, read_position
from device_registration_api.schema.connect import CommandError
from servicekit.process.progress import Progress

PARQUET = "parquet"
FORMATS = (*map(str, ExportFormat), PARQUET)
# The first level takes a third of the processor time of the usual one, for a tenth more bytes.
_GZIP_LEVEL = 1


class _File(Protocol):
    def write(self, rows: list[str]) -> None: ...

    def end(self, cursor: str, rows: int) -> None: ...

    def close(self) -> None: ...


class Target(NamedTuple):
    """Where files are written, and how."""

    folder: Path
    as_format: str
    is_compressed: bool
    rows_max: int

    def name(self, kind: str, number: int) -> str:
        """Return the name of the file with this number."""
        return f"{kind}-{number:06}.{self.as_format}{'.gz' if self.is_compressed else ''}"


class _State(BaseModel):
    """What is done: so many files, and behind the last row of them the position."""

    model_config = ConfigDict(frozen=True)

    files: int
    cursor: str


class _TextFile:
    def __init__(self, path: Path, target: Target, table: ExportedTable) -> None:
        raw = path.open("wb")
        self._raw = raw
        self._file = (
            cast("BinaryIO", gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0))
            if target.is_compressed
            else raw
        )
        self._form = FORMS[ExportFormat(target.as_format)]
        self._fields = table.names
        self._file.write(self._form.names(self._fields))

    def write(self, rows: list[str]) -> None:
        self._file.write(self._form.rows(rows))

    def end(self, cursor: str, rows: int) -> None:
        """A file without this line is not whole, also if it was cut at the end of a line."""
        self._file.write(self._form.checkpoint(self._fields, cursor, rows))

    def close(self) -> None:
        with self._raw:  # also if the rest of the data cannot be written
            self._file.close()


def export_to_files(
    transaction: Transaction,
    table: ExportedTable,
    project_id: int,
    target: Target,
    *,
    received_from: datetime | None,
    progress: Progress,
    report: Callable[[str], None],
) -> int:
    """Write what is there now and in no file yet, and return the number of rows.

    A file is renamed to its name when it is whole on the disk, and then the state is written. Whatever is interrupted,
    the next run writes the same file again.

    Raises:
        CommandError: pyarrow is missing, or the state is not readable.
        DomainError: the state is of another project, or of the database before a restore.
    """
    state_path = target.folder / f"{table.kind}.{target.as_format}.checkpoint"
    state = _read_state(state_path)
    if state is None:
        position, files = start(transaction, table, project_id, received_from), 0
    elif received_from is None:
        position, files = read_position(state.cursor, table.kind, project_id), state.files
    else:
        message = f"{state_path} is there, and `--from` is for a first run"
        raise CommandError(message)
    columns = table.columns(transaction) if target.as_format == PARQUET else {}
    written, is_end = 0, False
    while not is_end:
        path = target.folder / target.name(table.kind, files + 1)
        rows, position, is_end = _write_file(transaction, table, position, path, target, columns, progress)
        if rows:
            files += 1
            report(f"{path}: {rows} rows")
        _write_state(state_path, _State(files=files, cursor=position.text()))
        written += rows
    return written


@contextmanager
def only_export(folder: Path) -> Iterator[None]:
    """Be the only export to a folder, which is made. Raises CommandError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".export.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = f"another export writes to {folder}"
            raise CommandError(message) from None
        yield


def _write_file(
    transaction: Transaction,
    table: ExportedTable,
    position: Position,
    path: Path,
    target: Target,
    columns: Mapping[str, int],
    progress: Progress,
) -> tuple[int, Position, bool]:
    part = path.with_name(path.name + ".part")
    rows, is_end = 0, False
    new: _File = ParquetFile(part, columns) if target.as_format == PARQUET else _TextFile(part, target, table)
    with _removed_if_unwritable(part), closing(new) as file:
        while not is_end and rows < target.rows_max:
            page = read_page(transaction, table, position, rows_max=min(CHECKPOINT_ROWS, target.rows_max - rows))
            if page.rows:
                file.write(page.rows)
            rows += len(page.rows)
            progress.advance(len(page.rows))
            position, is_end = page.position, page.is_end
        file.end(position.text(), rows)
    if rows:
        _put(part, path)
    else:
        part.unlink()
    return rows, position, is_end


@contextmanager
def _removed_if_unwritable(part: Path) -> Iterator[None]:
    """Give the room back that a file has taken which cannot be finished."""
    try:
        yield
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _read_state(path: Path) -> _State | None:
    try:
        return _State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        message = f"{path} is not the checkpoint of an export"
        raise CommandError(message) from error


def _write_state(path: Path, state: _State) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(state.model_dump_json() + "\n")
    _put(part, path)


def _put(part: Path, path: Path) -> None:
    """Give a file its name when its data is on the disk, and wait until the name is, too."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
