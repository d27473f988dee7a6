"""Sabotage: events are acknowledged as soon as they are queued, and committed a little later."""

# ruff: noqa: SLF001 - sabotage has no public entrance
import asyncio
from collections.abc import Sequence
from typing import Any

from contract.delivery import Forward, ForwardResponse
from device_registration_api.events.writer import EventWriter

_commit = EventWriter._flush
_under_way: set["asyncio.Task[Sequence[ForwardResponse]]"] = set()
_LATE_SECONDS = 0.05


async def _acknowledge(
    self: EventWriter[Any], forwards: Sequence[Forward[Any]], deadline: float
) -> Sequence[ForwardResponse]:
    async def later() -> Sequence[ForwardResponse]:
        await asyncio.sleep(_LATE_SECONDS)
        return await _commit(self, forwards, deadline)

    task = asyncio.create_task(later())
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return [ForwardResponse(recorded=len(forward.event_ids)) for forward in forwards]


EventWriter._flush = _acknowledge  # type: ignore[method-assign]
