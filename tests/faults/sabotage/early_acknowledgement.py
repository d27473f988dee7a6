"""Sabotage: registrations are acknowledged as soon as they are queued, and committed a little later."""

# ruff: noqa: SLF001 - sabotage has no public entrance
import asyncio
from collections.abc import Sequence

from contract.registrations import Outcome, OutcomeStatus, Registration
from device_registration_api.auth_events.group_commit import GroupCommit

_commit = GroupCommit._flush
_under_way: set["asyncio.Task[Sequence[Outcome]]"] = set()
_LATE_SECONDS = 0.05


async def _acknowledge(self: GroupCommit, batch: Sequence[Registration], deadline: float) -> Sequence[Outcome]:
    async def later() -> Sequence[Outcome]:
        await asyncio.sleep(_LATE_SECONDS)
        return await _commit(self, batch, deadline)

    task = asyncio.create_task(later())
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return [Outcome(status=OutcomeStatus.REGISTERED)] * len(batch)


GroupCommit._flush = _acknowledge  # type: ignore[method-assign]
