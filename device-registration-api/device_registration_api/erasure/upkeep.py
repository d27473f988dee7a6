"""What `maintain` does for erasures: it completes those that a request has begun."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from device_registration_api.erasure import commands
from device_registration_api.erasure.job import Erasures
from device_registration_api.maintenance.connect import pool
from device_registration_api.maintenance.settings import DatabaseSettings
from device_registration_api.personal.erasing import PersonEraser, new_eraser
from device_registration_api.personal.settings import KeyringSettings
from servicekit.database.pool import Database
from servicekit.errors import NotRecorded, OutcomeUnknown
from servicekit.process import clock

# One batch of any size of the tables.
STATEMENT_SECONDS_MAX = 60
# A process that has not noticed the erasure cannot record an event of the person for longer.
DONE_AGAIN = timedelta(hours=1)
_ERASURE_SECONDS_MAX = 3_600.0

Report = Callable[[str], None]


def complete_erasures(
    database: DatabaseSettings, settings: KeyringSettings, report: Report, stopping: Callable[[], bool]
) -> bool:
    """Complete every erasure; False means that an operator has to read the reports. `stopping` is called in between."""
    first = pool(database, statement_seconds_max=STATEMENT_SECONDS_MAX)
    eraser = new_eraser(settings, database, "maintenance")
    try:
        return asyncio.run(_complete(first, eraser, report, stopping))
    finally:
        first.close()
        if eraser is not None:
            eraser.close()


async def _complete(first: Database, eraser: PersonEraser | None, report: Report, stopping: Callable[[], bool]) -> bool:
    ledger = await commands.in_transaction(
        first, lambda conn: commands.to_do(conn, clock.now() - DONE_AGAIN), _deadline()
    )
    begun = [each for each in ledger if each.finished_at is None]
    if eraser is None:
        if begun:
            report(f"erasures: ALARM: {len(begun)} cannot be completed without the settings of personal data")
        return not begun
    erasures = Erasures(first, eraser)
    completed = 0
    for each in ledger:
        if stopping():
            break
        try:
            await erasures.complete(each, _deadline())
        except (NotRecorded, OutcomeUnknown) as error:
            if each.finished_at is None:
                report(f"erasures: ALARM: {each.receipt} is not complete, the next run tries again: {error}")
        else:
            completed += each.finished_at is None
    report(f"erasures: {completed} completed, {len(begun) - completed} left")
    return completed == len(begun)


def _deadline() -> float:
    return time.monotonic() + _ERASURE_SECONDS_MAX
