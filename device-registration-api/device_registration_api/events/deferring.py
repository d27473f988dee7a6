"""A second way for events whose clients agreed to be counted later: into the inbox, while the first database is away.

They are tried in the first database for a short time only, and not with the other events: those wait longer for it, and
would hold these up. An event whose outcome is unknown in the first database keeps its ids in the inbox, so it is
recorded once, whatever became of the first attempt.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from contract.delivery import (
    AcceptedNotCounted,
    Batch,
    Columns,
    Forward,
    ForwardResponse,
    OutcomeStatus,
    PositionedOutcome,
)
from device_registration_api.events.recording import KEY_REUSED
from device_registration_api.events.remembered import Remembered
from device_registration_api.events.table import EventTable
from device_registration_api.inbox.entries import Entry, entries_of, entry_of_batch
from device_registration_api.inbox.storing import Inbox
from servicekit.errors import DatabaseAway, DomainError, IdempotencyKeyReused, NotRecorded, OutcomeUnknown

# The longest time that the first database is tried for, in seconds: those that queue behind it still have as long.
MAIN_SECONDS_MAX = 2.0
# What the first database may take of the time that is left; the rest is for the inbox.
_MAIN_SHARE_MAX = 0.6
# An expired attempt ends within this time, because its socket is shut down.
_GRACE_SECONDS = 0.3
# Of about 200 bytes each.
REFERENTS_REMEMBERED = 50_000

Result = TypeVar("Result")
# An attempt in the first database, which ends at a deadline.
Attempt: TypeAlias = Callable[[float], Awaitable[Result]]


class _Candidate(NamedTuple):
    """The events of a forward that may be stored in the inbox."""

    forward: Forward[Any]
    positions: Sequence[int]


class Deferring(Generic[Columns]):
    """Puts the events of one kind into the inbox while the first database is away."""

    def __init__(self, table: EventTable[Columns], inbox: Inbox) -> None:
        self._table = table
        self._inbox = inbox
        # What the events of this kind may refer to: it was there when this process last recorded an event of it.
        self._referents = Remembered[tuple[int, Hashable], None](REFERENTS_REMEMBERED)

    def remember(self, project_ids: Sequence[int], columns: Columns, without: Collection[int] = ()) -> None:
        """Remember what recorded events refer to; those at the positions `without` were not recorded."""
        referred = self._referred(project_ids, columns)
        self._referents.add({each: None for position, each in enumerate(referred) if position not in without})

    async def record(
        self, forwards: Sequence[Forward[Columns]], attempt: Attempt[Result], deadline: float
    ) -> Result | list[ForwardResponse]:
        """Return what `attempt` returns, or a response for each forward whose events are in the inbox.

        Raises:
            NotRecorded, OutcomeUnknown: neither database could be used.
        """
        try:
            return await self._in_main(attempt, deadline, MAIN_SECONDS_MAX)
        except (DatabaseAway, OutcomeUnknown) as error:
            failure = error
        candidates = [_Candidate(each, self._possible(each.project_ids, each.columns)) for each in forwards]

        def make() -> list[Entry]:
            return list(chain.from_iterable(entries_of(self._table, *each) for each in candidates))

        conflicts = iter(await self._store(make, failure, deadline))
        return [_response(each, conflicts, failure) for each in candidates]

    async def record_batch(
        self, batch: Batch[Columns], attempt: Attempt[Result], deadline: float
    ) -> Result | AcceptedNotCounted:
        """The same for a client's batch, which is stored as a whole or not at all. Also raises IdempotencyKeyReused."""
        try:
            return await self._in_main(attempt, deadline, math.inf)
        except (DatabaseAway, OutcomeUnknown) as error:
            failure = error
        project_ids = [batch.project_id] * len(batch.columns)
        if len(self._possible(project_ids, batch.columns)) < len(batch.columns):
            raise failure
        [is_conflict] = await self._store(lambda: [entry_of_batch(self._table, batch)], failure, deadline)
        if is_conflict:
            raise failure if isinstance(failure, OutcomeUnknown) else IdempotencyKeyReused(KEY_REUSED)
        return AcceptedNotCounted()

    async def _in_main(self, attempt: Attempt[Result], deadline: float, seconds_max: float) -> Result:
        """Raises DatabaseAway also when it is known to be away."""
        if self._inbox.is_main_away:
            raise DatabaseAway("the database cannot be reached")
        now = time.monotonic()
        seconds = min(_MAIN_SHARE_MAX * (deadline - now), seconds_max)
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                return await attempt(now + seconds)
        except TimeoutError as error:
            failure: DatabaseAway | OutcomeUnknown = OutcomeUnknown("no outcome was known in time")
            self._inbox.main_is_away(failure)
            raise failure from error
        except (DatabaseAway, OutcomeUnknown) as error:
            self._inbox.main_is_away(error)
            raise

    async def _store(self, make: Callable[[], Sequence[Entry]], failure: DomainError, deadline: float) -> list[bool]:
        # Without the inbox, what is known is what the first database has said.
        with suppress(NotRecorded):
            return await self._inbox.store(make, deadline)
        raise failure

    def _possible(self, project_ids: Sequence[int], columns: Columns) -> Sequence[int]:
        """Return the positions of the events that refer to nothing, or to something that was there."""
        if self._table.refers_to is None:
            return range(len(columns))
        referred = self._referred(project_ids, columns)
        known = self._referents.of(referred)
        return [position for position, each in enumerate(referred) if each in known]

    def _referred(self, project_ids: Sequence[int], columns: Columns) -> list[tuple[int, Hashable]]:
        if self._table.refers_to is None:
            return []
        return list(zip(project_ids, getattr(columns, self._table.refers_to), strict=True))


def _response(candidate: _Candidate, conflicts: Iterator[bool], failure: DomainError) -> ForwardResponse:
    """Return the outcome of each event of a forward: none of them is recorded."""
    is_unknown = isinstance(failure, OutcomeUnknown)
    left = OutcomeStatus.OUTCOME_UNKNOWN if is_unknown else OutcomeStatus.NOT_RECORDED
    outcomes = {
        position: PositionedOutcome(status=left, detail=str(failure), position=position)
        for position in range(len(candidate.forward.event_ids))
    }
    for position in candidate.positions:
        if not next(conflicts):
            outcomes[position] = PositionedOutcome(status=OutcomeStatus.ACCEPTED, position=position)
        elif not is_unknown:
            outcomes[position] = PositionedOutcome(status=OutcomeStatus.CONFLICT, detail=KEY_REUSED, position=position)
    return ForwardResponse(recorded=0, exceptions=list(outcomes.values()))
