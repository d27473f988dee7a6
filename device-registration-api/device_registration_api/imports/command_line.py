"""The command `import`, for the operator of the installation."""

import argparse
import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from contract.projects import known_timezone
from device_registration_api.events.table import EventTable
from device_registration_api.imports import (
    api_analytics,
    device_statistics_api,
    own_export,
    statictics_service,
    store_user_statistics,
)
from device_registration_api.imports.identities import Identities
from device_registration_api.imports.report import Refused, refusal_line
from device_registration_api.imports.run import Job, Run
from device_registration_api.imports.source import Source, Times
from device_registration_api.imports.target import Target
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.schema.connect import CommandError
from servicekit.errors import DomainError
from servicekit.process import clock
from servicekit.process.progress import Progress, shown_progress

Command = Callable[[argparse.Namespace], bool]


class System(NamedTuple):
    """A system that can be imported: its tables with their columns, what is stored, and how."""

    tables: Mapping[str, Sequence[str]]
    kinds: Sequence[EventTable[Any]]
    import_all: Callable[[Run], Coroutine[Any, Any, None]]


_OBJECTS_BETWEEN_COLLECTIONS = 200_000
_STAYS = "what is stored stays: the same command goes on where this one stopped"

SYSTEMS = {
    module.SYSTEM: System(module.TABLES, module.KINDS, module.import_all)
    for module in (device_statistics_api, statictics_service, api_analytics, store_user_statistics)
}


def add_commands(add: Callable[[str, Command, str], argparse.ArgumentParser], service: str) -> None:
    """Add the command to the private service's command line; `service` names the settings of its database."""
    added = add(
        "import", _import, f"store what another system recorded, with its times (reads {service}, RETENTION_DAYS)"
    )
    added.add_argument(
        "--from",
        dest="system",
        choices=(*SYSTEMS, own_export.SYSTEM),
        required=True,
        help="the system, or files of ours",
    )
    added.add_argument(
        "sources", nargs="+", metavar="URL|FILE", help="its database, or databases: postgresql://…; or the files"
    )
    added.add_argument(
        "--project", default="default", metavar="PROJECT-KEY", help="for systems without projects; default: default"
    )
    added.add_argument(
        "--source-timezone", type=_zone, default="UTC", metavar="ZONE", help="of times without a zone; default: UTC"
    )
    added.add_argument(
        "--source-name", metavar="NAME", help="tells two installations of one system apart; default: the system's name"
    )
    added.add_argument(
        "--incomplete", action="store_true", help="of files of ours: store what is there of an export without its end"
    )
    added.add_argument("--dry-run", action="store_true", help="read and check everything, and store nothing")
    added.add_argument("--refused", type=Path, metavar="FILE", help="write each refused row's table, id and reason")


def _import(chosen: argparse.Namespace) -> bool:
    # A chunk of rows has no cycles. Looking for some after every 700 objects took a sixth of the time.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    with _refusals(chosen.refused) as refused_to, shown_progress(chosen.name) as progress:
        if chosen.system == own_export.SYSTEM:
            job = _import_files(chosen, refused_to, progress)
        else:
            job = _import_system(chosen, refused_to, progress)
    for line in [line for report in job.reports for line in report.lines()] + job.notes:
        print(line)
    if chosen.dry_run:
        print("nothing was stored: this was a dry run")
    return all(report.is_exact for report in job.reports)


def _import_files(chosen: argparse.Namespace, refused_to: Refused, progress: Progress) -> Job:
    files = own_export.checked_files(chosen.sources, are_incomplete=chosen.incomplete)
    with closing(Target(DatabaseSettings(), own_export.KINDS, is_dry_run=chosen.dry_run)) as target:
        job = Job(target=target, progress=progress, refused_to=refused_to, project_key=chosen.project)
        _run(own_export.import_all(job, files))
    return job


def _import_system(chosen: argparse.Namespace, refused_to: Refused, progress: Progress) -> Job:
    system = SYSTEMS[chosen.system]
    now = clock.now()
    with closing(Source(chosen.sources)) as source:
        source.require(chosen.system, system.tables)
        with closing(Target(DatabaseSettings(), system.kinds, is_dry_run=chosen.dry_run)) as target:
            run = Run(
                target=target,
                progress=progress,
                refused_to=refused_to,
                project_key=chosen.project,
                source=source,
                identities=Identities(chosen.source_name or chosen.system),
                times=Times(ZoneInfo(chosen.source_timezone), now),
            )
            _run(system.import_all(run))
    return run


def _run(importing: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(importing)
    except DomainError as error:
        message = f"{error}; {_STAYS}"
        raise CommandError(message) from error


@contextmanager
def _refusals(file: Path | None) -> Iterator[Refused]:
    """Write each refusal to the file, if there is one. Raises CommandError."""
    if file is None:
        yield lambda _table, _row_id, _reason: None
        return
    with _writing(file):
        opened = file.open("wb")

    def write(table: str, row_id: object, reason: str) -> None:
        with _writing(file):
            opened.write(refusal_line(table, row_id, reason))

    try:
        yield write
    finally:
        with _writing(file):
            opened.close()


@contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"{file} cannot be written: {error.strerror}; {_STAYS}"
        raise CommandError(message) from error


def _zone(name: str) -> str:
    try:
        return known_timezone(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
