"""Where imported rows go: the first database, with the private service's login."""

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime
from typing import Any, TypeVar

from device_registration_api.events.table import EventTable
from device_registration_api.maintenance.connect import connect, pool
from device_registration_api.maintenance.partitions import CREATE_PARTITION, week_of
from device_registration_api.maintenance.settings import DatabaseSettings, RetentionSettings
from device_registration_api.schema.connect import CommandError
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

Result = TypeVar("Result")

_STATEMENT_SECONDS_MAX = 600
_SECONDS_MAX = 900.0
# Any number that no other advisory lock has: those of the spine have a table's oid in front.
_LOCK = 7_305_807_142_266_143
TRY_LOCK = "SELECT pg_try_advisory_lock(%(lock)s)"
PROJECT = "SELECT project_id FROM project WHERE project_key = %(project_key)s AND deleted_at IS NULL"
# What the project and the installation ask for, and what `maintain` did last.
RETENTION = """
    SELECT p.retention_days, r.retention_days
      FROM project AS p
      LEFT JOIN project_retention AS r ON r.project_id = p.project_id AND r.fact = %(fact)s
     WHERE p.project_id = %(project_id)s
"""


class Target:
    """The first database. One import at a time uses it."""

    def __init__(self, settings: DatabaseSettings, tables: Iterable[EventTable[Any]], *, is_dry_run: bool) -> None:
        """`tables` are the kinds of event that will be stored. With `is_dry_run`, nothing is.

        Raises:
            CommandError: another import is at work.
            psycopg2.OperationalError: the server cannot be reached, or refuses the login.
        """
        self.is_dry_run = is_dry_run
        self.settings = settings
        self.conn = connect(settings, statement_seconds_max=_STATEMENT_SECONDS_MAX)
        with self.conn:
            [is_ours] = fetch_all(self.conn, TRY_LOCK, {"lock": _LOCK}, bool)
        if not is_ours:
            self.conn.close()
            raise CommandError("another import is at work")
        prepare = [statement for table in tables for statement in table.prepared()]
        # While one connection stores, the other one assigns what the next rows need.
        self._pool = pool(settings, statement_seconds_max=_STATEMENT_SECONDS_MAX, prepare=prepare, connections_max=2)
        self._weeks: set[tuple[str, date]] = set()
        self._retention_days = RetentionSettings().retention_days

    def close(self) -> None:
        """Wait for what is running, then close the connections."""
        self._pool.close()
        self.conn.close()

    def project(self, project_key: str) -> int:
        """Return the number of a project. Raises CommandError."""
        with self.conn:
            found = fetch_all(self.conn, PROJECT, {"project_key": project_key}, int)
        if not found:
            message = f"there is no project {project_key}"
            raise CommandError(message)
        return found[0]

    def kept_days(self, fact: str, project_id: int) -> int | None:
        """Return for how many days the facts of a project are kept; None is for ever. No transaction may be open."""
        named = {"fact": fact, "project_id": project_id}
        with self.conn:
            found = [days for row in fetch_all(self.conn, RETENTION, named, lambda *row: row) for days in row]
        return min((days for days in [*found, self._retention_days] if days), default=None)

    async def run(self, work: Callable[[Lease], Result]) -> Result:
        """Run work that is written for a pool. Raises as `Database.run`."""
        return await self._pool.run(work, _SECONDS_MAX)

    def make_weeks(self, fact: str, times: Collection[datetime]) -> None:
        """Make the partitions of the weeks that these times are in. No transaction may be open."""
        days = {each.toordinal(): each for each in times}
        needed = {(fact, week_of(each)) for each in days.values()} - self._weeks
        for name, week in sorted(needed):
            with self.conn:
                fetch_all(self.conn, CREATE_PARTITION, {"fact": name, "week": week}, lambda moved: moved)
        self._weeks |= needed
