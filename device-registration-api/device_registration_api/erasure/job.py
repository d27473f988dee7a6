"""Erases a person from all three databases, in steps of small transactions.

What must be remembered is in the ledger, so the job goes on after any interruption, wherever it was. Two databases have
no common transaction, so a step is noted after it is done, and may be done twice.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

from device_registration_api.erasure import commands
from device_registration_api.erasure.commands import Erasure, Step
from device_registration_api.personal.erasing import PersonEraser
from servicekit.database import Connection
from servicekit.database.pool import Database
from servicekit.errors import NotRecorded, OutcomeUnknown
from servicekit.process import clock

# The rows that one transaction deletes: it takes some tens of milliseconds.
BATCH_ROWS = 1_000
# What is left of a request's time for its answer when the job is stopped.
_ANSWER_SECONDS = 0.5

Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Erasures:
    """The erasures of an installation; one for each process. A deadline is a reading of `time.monotonic`."""

    def __init__(self, database: Database, eraser: PersonEraser) -> None:
        """`database` is the first one."""
        self._database = database
        self._eraser = eraser

    async def erase(self, project_id: int, person_id: UUID, deadline: float) -> Erasure:
        """Enter the erasure in the ledger, and do as much of it as there is time for. A repeat goes on with it.

        Raises:
            NotFound: the project has and had no such person.
            NotRecorded: nothing was entered.
            OutcomeUnknown: it may have been entered.
        """
        erasure = await self._in_transaction(
            lambda conn: commands.request(conn, project_id, person_id, clock.now()), deadline
        )
        if erasure.finished_at is not None:
            return erasure
        try:
            await self.complete(erasure, deadline - _ANSWER_SECONDS)
        except (NotRecorded, OutcomeUnknown) as error:
            _log.warning(
                "an erasure is not finished yet; maintain goes on with it",
                extra={"receipt": str(erasure.receipt), "reason": str(error)},
            )
        try:
            return await self._in_transaction(lambda conn: commands.find(conn, erasure), deadline)
        except (NotRecorded, OutcomeUnknown):
            return erasure  # it is in the ledger, and nobody knows how far it is

    async def erase_account(self, account_id: UUID, deadline: float) -> Erasure:
        """Erase an account of the installation. A repeat goes on with it.

        Raises:
            Conflict: a project has no other owner; nothing was entered.
            NotRecorded, OutcomeUnknown: a database is away; maintain goes on with what was entered.
        """
        erasure = await self._in_transaction(
            lambda conn: commands.request_account(conn, account_id, clock.now()), deadline
        )
        await self.complete(erasure, deadline)
        return erasure

    async def complete(self, erasure: Erasure, deadline: float) -> None:
        """Do everything that is left of an erasure, or again what may have come since.

        Raises:
            NotRecorded, OutcomeUnknown: a database is away, or there is no time left; what is done stays done.
        """
        facts = await self._in_transaction(commands.facts_of_persons, deadline)
        for step, work in ((Step.FACTS, commands.retire_rows), (Step.PRESENCES, commands.retire_presences)):
            for fact in facts:
                while await self._in_transaction(partial(_batch, work, erasure, fact), deadline):
                    pass
            if step is Step.FACTS:
                await self._in_transaction(lambda conn: commands.delete_devices(conn, erasure), deadline)
            await self._in_transaction(partial(_complete_step, erasure, step), deadline)
        await self._eraser.erase(erasure.project_id, erasure.person_id, erasure.receipt, deadline - time.monotonic())
        await self._in_transaction(lambda conn: commands.finish(conn, erasure, clock.now()), deadline)

    async def suppress(self, project_id: int, person_id: UUID, deadline: float, *, suppressed: bool) -> None:
        """Refuse events of a person from now on, or accept them again.

        Raises:
            NotFound: the project has and had no such person.
            Gone: the person was erased.
            NotRecorded, OutcomeUnknown: as `erase`.
        """
        since = clock.now() if suppressed else None
        await self._in_transaction(lambda conn: commands.suppress(conn, project_id, person_id, since), deadline)

    async def delete_events(self, project_id: int, person_id: UUID, deadline: float) -> int:
        """Delete the events of a person who stays, and return how many they were; figures stay, too.

        Raises:
            NotFound, Gone: as `suppress`.
            NotRecorded: there was no time for all of them, or the database is away: a repeat deletes the others.
            OutcomeUnknown: as `erase`.
        """
        deleted = 0
        retire = partial(_retire_events, project_id, person_id)
        while (rows := await self._in_transaction(retire, deadline)) is not None:
            deleted += rows
        return deleted

    async def _in_transaction(self, work: Callable[[Connection], Result], deadline: float) -> Result:
        return await commands.in_transaction(self._database, work, deadline)


def _batch(
    work: Callable[[Connection, Erasure, str, int], bool], erasure: Erasure, fact: str, conn: Connection
) -> bool:
    return work(conn, erasure, fact, BATCH_ROWS)


def _complete_step(erasure: Erasure, step: Step, conn: Connection) -> None:
    commands.complete_step(conn, erasure, step)


def _retire_events(project_id: int, person_id: UUID, conn: Connection) -> int | None:
    return commands.retire_events(conn, project_id, person_id, BATCH_ROWS)
