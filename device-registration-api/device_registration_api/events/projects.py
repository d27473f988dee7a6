"""The settings of projects that a transaction of events needs: time zones, and the keys of digests.

They are read before the transaction and remembered for half a minute, so a new time zone is used by then everywhere.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from contract.delivery import Columns
from device_registration_api.events.local_days import LocalDays
from device_registration_api.events.rows import ProjectSettings, Rows
from servicekit.database.lease import Lease
from servicekit.database.sql import fetch_all

REMEMBERED_SECONDS = 30.0
PROJECTS_REMEMBERED = 10_000

READ = "SELECT project_id, timezone, presence_key FROM project WHERE project_id = ANY(%(project_ids)s)"

_log = logging.getLogger(__name__)


class _Remembered(NamedTuple):
    settings: ProjectSettings
    until: float


class Projects:
    """The settings that this process knows, by project. Used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, _Remembered] = {}

    def complete(self, lease: Lease, rows: Rows[Columns]) -> Rows[Columns]:
        """Return the rows with the settings of their projects. A project that has no row has the defaults."""
        now = time.monotonic()
        project_ids = set(rows.project_ids)
        found = {
            project_id: known.settings
            for project_id in project_ids
            if (known := self._known.get(project_id)) is not None and known.until > now
        }
        if unknown := sorted(project_ids - found.keys()):
            read = _read(lease, unknown)
            found |= read
            with self._lock:
                self._known |= {
                    each: _Remembered(settings, now + REMEMBERED_SECONDS) for each, settings in read.items()
                }
                while len(self._known) > PROJECTS_REMEMBERED:
                    del self._known[next(iter(self._known))]
        return replace(rows, projects=found)


def _read(lease: Lease, project_ids: list[int]) -> Mapping[int, ProjectSettings]:
    with lease.transaction() as conn:
        stored = fetch_all(conn, READ, {"project_ids": project_ids}, _stored)
    return dict.fromkeys(project_ids, ProjectSettings(LocalDays(UTC), b"")) | dict(stored)


def _stored(project_id: int, timezone: str, presence_key: memoryview) -> tuple[int, ProjectSettings]:
    return project_id, ProjectSettings(LocalDays(zone_of(timezone)), bytes(presence_key))


def zone_of(name: str) -> tzinfo:
    """Return a time zone; one that this process does not know is UTC."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError):  # no event is refused for a setting of its project
        _log.warning("a project's time zone is unknown here, its days are those of UTC", extra={"timezone": name})
        return UTC
