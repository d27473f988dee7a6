"""The command that writes all events of a project to files."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from device_registration_api.events.table import EventTable
from device_registration_api.exports.files import FORMATS, PARQUET, Target, export_to_files, only_export
from device_registration_api.exports.pages import ExportedTable
from device_registration_api.exports.parquet import pyarrow
from device_registration_api.kinds import KINDS
from device_registration_api.maintenance.arguments import instant, project_id_of
from device_registration_api.maintenance.connect import connect
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.schema.connect import CommandError
from servicekit.process.progress import shown_progress

_STATEMENT_SECONDS_MAX = 60
_ROWS = 1_000_000
_KINDS: Mapping[str, EventTable[Any]] = {table.kind: table for table in KINDS}

Command = Callable[[argparse.Namespace], bool]


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str) -> None:
    """Add the command to the private service's command line; the last one names the settings that it reads."""
    added = add("export", _export, f"write all events of a project to files, on from the last run (reads {service})")
    added.add_argument("project_key", metavar="PROJECT-KEY")
    added.add_argument("folder", metavar="FOLDER", type=Path, help="it is made if it is not there")
    added.add_argument("--kind", choices=_KINDS, action="append", help="of this kind alone; may be repeated")
    added.add_argument("--format", choices=FORMATS, default=FORMATS[0], dest="as_format")
    added.add_argument("--gzip", action="store_true", help="compress the files")
    added.add_argument("--rows", type=_rows, default=_ROWS, help=f"of a file, at most; {_ROWS} unless given")
    added.add_argument("--from", dest="starts", type=instant, metavar="TIME", help="that were received then or later")


def _export(chosen: argparse.Namespace) -> bool:
    if chosen.as_format == PARQUET:
        pyarrow()
        if chosen.gzip:
            raise CommandError("Parquet is compressed as it is: leave out --gzip")
    target = Target(chosen.folder, chosen.as_format, chosen.gzip, chosen.rows)
    try:
        with (
            only_export(chosen.folder),
            closing(connect(DatabaseSettings(), statement_seconds_max=_STATEMENT_SECONDS_MAX)) as conn,
            shown_progress("export") as progress,
        ):
            with conn:
                project_id = project_id_of(conn, chosen.project_key)
            report = progress.above(_print)
            for kind in chosen.kind or _KINDS:
                progress.doing(kind)
                rows = export_to_files(
                    lambda: conn,
                    ExportedTable(_KINDS[kind]),
                    project_id,
                    target,
                    received_from=chosen.starts,
                    progress=progress,
                    report=report,
                )
                report(f"{kind}: {rows} rows")
    except OSError as error:
        stays = "the files that are whole stay: the same command goes on behind them"
        message = f"{error.filename or chosen.folder}: {error.strerror}; {stays}"
        raise CommandError(message) from error
    return True


def _rows(text: str) -> int:
    rows = int(text)
    if rows < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return rows


def _print(line: str) -> None:
    print(line, flush=True)
