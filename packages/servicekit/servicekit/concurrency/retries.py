"""The one place that repeats a write: at most twice, with full jitter, within a budget, always with the same ids."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from servicekit.errors import DomainError, NotRecorded, OutcomeUnknown

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

RETRIES_MAX = 2
# Retries may be this share of all sends: during an outage, retries must not triple the load.
_BUDGET_SHARE = 0.1
_BUDGET_MAX = 10.0
_PAUSE_SECONDS = 0.1
# With less time than this before the deadline, a repeat would expire before its answer.
REMAINING_SECONDS_MIN = 0.5


class RetryBudget:
    """A budget of retries, and the loop that spends it."""

    def __init__(self) -> None:
        self._budget = _BUDGET_MAX

    async def send(
        self,
        items: Sequence[Item],
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Outcome | DomainError]]],
        deadline: float,
    ) -> list[Outcome | DomainError]:
        """Send every item, and repeat those whose outcome was not recorded or is unknown.

        An unknown outcome stays unknown until a repeat returns a definite one. NotRecorded for a repeat says nothing
        about the attempt before it. `deadline` is a reading of `time.monotonic`.
        """
        outcomes: list[Outcome | DomainError] = [NotRecorded("not sent")] * len(items)
        pending = list(range(len(items)))
        self._budget = min(_BUDGET_MAX, self._budget + _BUDGET_SHARE)
        for attempt in range(1 + RETRIES_MAX):
            try:
                answered = await send([items[index] for index in pending])
            except (NotRecorded, OutcomeUnknown) as failure:
                answered = [failure] * len(pending)
            for index, outcome in zip(pending, answered, strict=True):
                if not (isinstance(outcomes[index], OutcomeUnknown) and isinstance(outcome, NotRecorded)):
                    outcomes[index] = outcome
            pending = [index for index in pending if isinstance(outcomes[index], NotRecorded | OutcomeUnknown)]
            pause = random.uniform(0, _PAUSE_SECONDS * 2**attempt)  # noqa: S311 - not a secret
            if not pending or attempt == RETRIES_MAX or not self._spend(deadline - pause):
                break
            await asyncio.sleep(pause)
        return outcomes

    def _spend(self, deadline: float) -> bool:
        if self._budget < 1 or deadline - time.monotonic() < REMAINING_SECONDS_MIN:
            return False
        self._budget -= 1
        return True
