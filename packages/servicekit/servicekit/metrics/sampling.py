"""Values that are there anyway, such as the length of a queue: they are read once a second, and counted nowhere."""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from servicekit.metrics.cells import Cells
from servicekit.metrics.families import Family

SAMPLE_SECONDS = 1.0

Sample: TypeAlias = Callable[[], None]


class Samples:
    """The values of one process. A process that is killed loses what they have become since the last second."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._samples: list[Sample] = []

    def add(self, family: Family, *labels: str, read: Callable[[], float]) -> None:
        """Show what `read` returns, of a gauge or of a number that only grows."""
        gauge = self._cells.gauge(family, *labels)
        self._samples.append(lambda: gauge.set(read()))

    def take(self) -> None:
        """Read every value now."""
        for sample in self._samples:
            sample()

    async def take_forever(self) -> None:
        """Read them every second, if anybody can see them, until the task is cancelled."""
        while self._cells.are_shared:
            self.take()
            await asyncio.sleep(SAMPLE_SECONDS)
