"""Shows what the database knows. A scrape never waits for it: it is asked in between, and a time-out is short."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import psycopg2
from psycopg2 import sql

from contract.metric_names import NAMESPACE
from device_registration_api.maintenance.catalogue import FACT_TABLES, FactTable
from device_registration_api.maintenance.command_runs import MAINTAIN, VERIFY_COUNTS
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import fetch_all
from servicekit.errors import DomainError
from servicekit.metrics.cells import UNKNOWN, Cells
from servicekit.metrics.families import Family, gauge

EVERY_SECONDS = 15.0
SECONDS_MAX = 2.0
# More rows than this are not counted: any number but 0 is an alarm.
DEFAULT_ROWS_MAX = 10_000

DEFAULT_PARTITION_ROWS = gauge(
    f"{NAMESPACE}_default_partition_rows",
    f"Rows that no week has a partition for, at most {DEFAULT_ROWS_MAX}; any number but 0 is an alarm.",
    "table",
)
ERASURES_OPEN = gauge(f"{NAMESPACE}_erasures_open", "Erasures that were asked for and are not finished.")
ERASURE_AGE = gauge(f"{NAMESPACE}_erasure_oldest_open_seconds", "Time since the oldest open one was asked for, or 0.")
MAINTAINED_AT = gauge(
    f"{NAMESPACE}_maintain_last_success_timestamp_seconds",
    "When maintain last ended without an alarm.",
)
VERIFIED_AT = gauge(f"{NAMESPACE}_counts_verified_timestamp_seconds", "When verify-counts last ended.")
DRIFT = gauge(f"{NAMESPACE}_counts_drift", "Counts that differed from their events in the last verify-counts.")
KEK_AGE = gauge(f"{NAMESPACE}_kek_age_seconds", "Time since maintain first saw the current KEK.")
DATABASE_ANSWERS = gauge(
    f"{NAMESPACE}_database_answers", "Whether the database has answered when it was asked for these values."
)

DEFAULT_ROWS = sql.SQL("SELECT count(*) FROM (SELECT FROM {default} LIMIT %(rows_max)s) AS found")
OPEN_ERASURES = """
    SELECT count(*), coalesce(extract(epoch FROM now() - min(requested_at)), 0)::float8
      FROM erasure
     WHERE finished_at IS NULL
"""

COMMAND_RUNS = """
    SELECT command, extract(epoch FROM ended_at)::float8, findings
      FROM maintenance.command_run
"""

KEK_SECONDS = "SELECT extract(epoch FROM now() - since)::float8 FROM key_epoch WHERE kek = %(kek)s"

# A value for a family and the values of its labels.
StoredValues: TypeAlias = Mapping[tuple[Family, tuple[str, ...]], float]
Read: TypeAlias = Callable[[Lease], StoredValues]

_log = logging.getLogger(__name__)


class _CommandRun(NamedTuple):
    command: str
    ended_at: float
    findings: int


class _OpenErasures(NamedTuple):
    number: int
    oldest_seconds: float


class StoredState:
    """The values of the databases, read by one process. What cannot be read is not shown."""

    def __init__(self, cells: Cells, sources: Sequence[tuple[Database, Read]]) -> None:
        """The first source is the database without which nothing works."""
        self._cells = cells
        self._sources = sources
        self._shown: set[tuple[Family, tuple[str, ...]]] = set()

    async def show_forever(self) -> None:
        """Read every 15 seconds, if anybody can see it, until the task is cancelled."""
        while self._cells.are_shared:
            await self.show()
            await asyncio.sleep(EVERY_SECONDS)

    async def read(self) -> StoredValues | None:
        """Return the values of all databases that answer; None if the first one does not."""
        first, *others = await self._read_all()
        return None if first is None else {**first, **_merged(others)}

    async def show(self) -> None:
        """Read once, and show it."""
        found = await self._read_all()
        values = _merged(found)
        values[DATABASE_ANSWERS, ()] = found[0] is not None
        for family, labels in self._shown - values.keys():
            self._cells.gauge(family, *labels).set(UNKNOWN)
        for (family, labels), value in values.items():
            self._cells.gauge(family, *labels).set(value)
        self._shown = {*values}

    async def _read_all(self) -> list[StoredValues | None]:
        return list(await asyncio.gather(*(self._read(database, read) for database, read in self._sources)))

    async def _read(self, database: Database, read: Read) -> StoredValues | None:
        try:
            return await database.run(read, SECONDS_MAX)
        except (DomainError, psycopg2.Error) as error:
            _log.warning("metrics of the database cannot be read: %s", error)
            return None


def _merged(found: Sequence[StoredValues | None]) -> dict[tuple[Family, tuple[str, ...]], float]:
    return {key: value for each in found if each is not None for key, value in each.items()}


def read_stored(lease: Lease) -> StoredValues:
    """Return the values of the database of facts."""
    with lease.transaction() as conn:
        values: dict[tuple[Family, tuple[str, ...]], float] = {}
        for table in fetch_all(conn, FACT_TABLES, {}, FactTable):
            statement = DEFAULT_ROWS.format(default=table.table("default"))
            [values[DEFAULT_PARTITION_ROWS, (table.fact,)]] = fetch_all(
                conn, statement, {"rows_max": DEFAULT_ROWS_MAX}, float
            )
        [erasures] = fetch_all(conn, OPEN_ERASURES, {}, _OpenErasures)
        values[ERASURES_OPEN, ()] = erasures.number
        values[ERASURE_AGE, ()] = erasures.oldest_seconds
        for run in fetch_all(conn, COMMAND_RUNS, {}, _CommandRun):
            if run.command == MAINTAIN:
                values[MAINTAINED_AT, ()] = run.ended_at
            elif run.command == VERIFY_COUNTS:
                values[VERIFIED_AT, ()] = run.ended_at
                values[DRIFT, ()] = run.findings
    return values


def read_key_age(lease: Lease, kek: int) -> StoredValues:
    """Return the values of the database of keys, of which `kek` is the current key-encryption key."""
    with lease.transaction() as conn:
        found = fetch_all(conn, KEK_SECONDS, {"kek": kek}, float)
    return {(KEK_AGE, ()): found[0]} if found else {}
