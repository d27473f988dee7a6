"""One run of the command: what every importer gets."""

from dataclasses import dataclass, field
from typing import LiteralString

from psycopg2 import sql

from contract.delivery import Columns
from device_registration_api.events.table import EventTable
from device_registration_api.imports.identities import Identities
from device_registration_api.imports.recorder import Recorder
from device_registration_api.imports.report import Refused, TableReport
from device_registration_api.imports.source import Source, Times
from device_registration_api.imports.target import Target
from servicekit.process.progress import Progress

COUNT = sql.SQL("SELECT count(*) FROM {table}")


@dataclass(kw_only=True)
class Job:
    """The target, and what is said of what is stored there."""

    target: Target
    progress: Progress
    refused_to: Refused
    project_key: str
    reports: list[TableReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, table: str, found: int) -> TableReport:
        """Begin the report and the progress of a table of the source, or of a file, with so many rows."""
        self.progress.doing(table)
        self.progress.expect(found)
        self.reports.append(TableReport(table, found, self.refused_to))
        return self.reports[-1]

    def recorder(self, table: EventTable[Columns], report: TableReport) -> Recorder[Columns]:
        """Return what stores the events of the table of this report."""
        return Recorder(self.target, table, report, self.progress)


@dataclass(kw_only=True)
class Run(Job):
    """A job whose source is the database of another system."""

    source: Source
    identities: Identities
    times: Times

    def report(self, table: LiteralString) -> TableReport:
        """Count the rows of a table of the source, and begin its report."""
        return self.begin(table, self.source.count(table, COUNT.format(table=sql.Identifier(table))))
