"""Sabotage: events are acknowledged as soon as they are queued, and committed a little later."""

# ruff: noqa: SLF001 - sabotage has no public entrance
import asyncio
from collections.abc import Sequence
from typing import Any

from contract.delivery import Forward, ForwardResponse
from device_registration_api.events.writer import EventWriter, ForwardRecorded

_commit = EventWriter._flush
_under_way: set["asyncio.Task[Sequence[ForwardRecorded]]"] = set()
_LATE_SECONDS = 0.05


async def _acknowledge(
    self: EventWriter[Any], forwards: Sequence[Forward[Any]], deadline: float
) -> Sequence[ForwardRecorded]:
    async def later() -> Sequence[ForwardRecorded]:
        await asyncio.sleep(_LATE_SECONDS)
        return await _commit(self, forwards, deadline)

    task = asyncio.create_task(later())
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    rows = [] if self.table.read is None else [b"{}"]
    counts = [len(forward.event_ids) for forward in forwards]
    return [ForwardRecorded(ForwardResponse(recorded=count), rows * count) for count in counts]


EventWriter._flush = _acknowledge  # type: ignore[method-assign]
