"""An event loop with virtual time: deterministic, and an hour of waiting takes no time at all.

When nothing is ready to run, the clock jumps to the next timer. When there is no timer either, whoever still waits
would wait for ever, and the simulation says so instead of hanging.
"""

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from typing_extensions import override

Result = TypeVar("Result")

# More turns of the loop than any chain of callbacks that ends by itself needs.
_TURNS_TO_SETTLE = 20


class WaitsForEverError(AssertionError):
    """Nothing is ready, no timer is set, and the simulated program has not ended."""


class SimulatedLoop(asyncio.BaseEventLoop):
    """Has timers and callbacks; no sockets, and no way to sleep for real."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self  # what BaseEventLoop asks for events, and how long to wait for them at most
        self.unnoticed: list[str] = []
        self.set_exception_handler(lambda _, context: self.unnoticed.append(str(context)))

    @override
    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[object]:
        """Instead of waiting for events: let the time pass."""
        if timeout is None:
            raise WaitsForEverError
        self._now += timeout
        return []

    def _process_events(self, event_list: list[object]) -> None:
        """There are never any."""


def simulate(program: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `program` in virtual time, from 0.0 s.

    Raises:
        WaitsForEverError: it cannot end.
        AssertionError: it left a task behind, or an exception that nobody retrieved.
    """
    loop = SimulatedLoop()
    gc.disable()  # so that all garbage is young at the end, and cheap to collect
    try:
        try:
            result = loop.run_until_complete(program())
            loop.run_until_complete(_settle())
        finally:
            left_behind = asyncio.all_tasks(loop)
            for task in left_behind:
                task.cancel()
            loop.run_until_complete(_settle())
            loop.close()
        gc.collect(0)  # asyncio reports an exception that nobody retrieved when its task or future is collected
    finally:
        gc.enable()
    assert not left_behind, f"left behind: {left_behind}"
    assert not loop.unnoticed, loop.unnoticed
    return result


async def _settle() -> None:
    for _ in range(_TURNS_TO_SETTLE):
        await asyncio.sleep(0)
