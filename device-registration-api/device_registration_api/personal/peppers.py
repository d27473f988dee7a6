"""The pepper of each day: a secret for pseudonyms that nobody can link or recompute when the day is forgotten.

It is in `keyring`, is made by the first process that needs it on a day (UTC), and is deleted after 48 hours. A process
keeps that of today alone.
"""

import asyncio
import logging
import secrets
import time
from datetime import UTC, date, datetime, timedelta
from functools import partial

from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.connect import pool_apart
from device_registration_api.personal.settings import KeyringSettings
from device_registration_api.personal.upkeep import DELETE_PEPPERS, PEPPERS_KEPT
from device_registration_api.schema.schemas import KEYRING
from servicekit.database.lease import Lease
from servicekit.database.pool import Database
from servicekit.database.sql import execute, fetch_all
from servicekit.errors import NotRecorded, OutcomeUnknown
from servicekit.process import clock

PEPPER_BYTES = 32
# The events that wait for a pepper wait no longer than this, and go on without it.
WAIT_SECONDS_MAX = 0.5
# After a failure, events go on without a pepper for as long, and do not wait.
PAUSE_SECONDS = 10.0

READ = "SELECT secret FROM daily_pepper WHERE day = %(day)s"
STORE = "INSERT INTO daily_pepper (day, secret) VALUES (%(day)s, %(secret)s) ON CONFLICT (day) DO NOTHING"

_log = logging.getLogger(__name__)


class DailyPeppers:
    """The peppers that this process asks for; one for each process. Without a database there is none."""

    def __init__(self, database: Database | None) -> None:
        self._database = database
        self._kept: tuple[date, bytes] | None = None
        self._reading: asyncio.Task[bytes | None] | None = None
        self._paused_until = 0.0
        self._is_away = False

    async def of_today(self) -> bytes | None:
        """Return today's pepper, 32 bytes; None without a database, or while it cannot be reached."""
        day = clock.now().astimezone(UTC).date()
        if self._kept is not None and self._kept[0] == day:
            return self._kept[1]
        self._kept = None
        if self._database is None or time.monotonic() < self._paused_until:
            return None
        if self._reading is None:
            # One question for all that wait for it. It goes on when their clients are gone.
            self._reading = asyncio.create_task(self._read(self._database, day))
            self._reading.add_done_callback(self._end_reading)
        return await asyncio.shield(self._reading)

    def close(self) -> None:
        """Wait for running work, then close every connection."""
        if self._database is not None:
            self._database.close()

    async def _read(self, database: Database, day: date) -> bytes | None:
        try:
            pepper = await database.run(partial(_pepper_of, day=day), WAIT_SECONDS_MAX)
        except (NotRecorded, OutcomeUnknown):
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            if not self._is_away:
                _log.warning("the keyring cannot be used: addresses of clients are recorded without a hash until then")
            self._is_away = True
            return None
        database.close_idle()  # the next use is tomorrow
        if self._is_away:
            _log.info("the keyring can be used again: addresses of clients are hashed")
        self._is_away = False
        self._kept = (day, pepper)
        # Events may stop, but the day is to be forgotten.
        ends = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
        asyncio.get_running_loop().call_later((ends - clock.now()).total_seconds(), self._forget, day)
        return pepper

    def _forget(self, day: date) -> None:
        if self._kept is not None and self._kept[0] == day:
            self._kept = None

    def _end_reading(self, _: "asyncio.Task[bytes | None]") -> None:
        self._reading = None


def new_peppers(settings: KeyringSettings, beside: DatabaseSettings, application: str) -> DailyPeppers:
    """Return the peppers of the keyring that the settings name, by default beside the first database.

    There are none unless the login and the KEKs are set, because `maintain` forgets peppers under the same condition.
    """
    if not settings.is_complete():
        return DailyPeppers(None)
    database = pool_apart(KEYRING, beside, settings, application, connections_max=1, wait_seconds_max=WAIT_SECONDS_MAX)
    return DailyPeppers(database)


def _pepper_of(lease: Lease, day: date) -> bytes:
    """Return the day's pepper. The first who asks makes it, and deletes the old ones in the same transaction."""
    with lease.transaction() as conn:
        found = fetch_all(conn, READ, {"day": day}, bytes)
        if not found:
            execute(conn, STORE, {"day": day, "secret": secrets.token_bytes(PEPPER_BYTES)})
            execute(conn, DELETE_PEPPERS, {"bound": clock.now() - PEPPERS_KEPT})
            found = fetch_all(conn, READ, {"day": day}, bytes)
    return found[0]
