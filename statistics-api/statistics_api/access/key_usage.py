"""Counts how often each API key is used, and reports it to the private service once a minute.

A process that ends without its last report loses at most a minute of counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from contract.access import USES_MAX, KeyUse, KeyUses
from servicekit.errors import DomainError, NotRecorded
from servicekit.process import clock

REPORT_SECONDS = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Use:
    requests: int
    # Seconds since the epoch.
    last_used: float


class KeyUsage:
    """The requests since the last report, by key; one for each process."""

    def __init__(self, send: Callable[[bytes], Awaitable[object]]) -> None:
        """`send` adds up one report, the JSON of KeyUses. Its errors are those of the private service's client."""
        self._send = send
        self._uses: dict[tuple[int, str], _Use] = {}

    def count(self, project_id: int, key_id: str) -> None:
        """Count one request with a key."""
        use = self._uses.get((project_id, key_id))
        if use is None:
            use = self._uses[project_id, key_id] = _Use(0, 0.0)
        use.requests += 1
        use.last_used = clock.seconds()

    async def report_forever(self) -> None:
        """Report once a minute, until it is cancelled."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            await self.report()

    async def report(self) -> None:
        """Send what was counted since the last report. What was certainly not added up is sent with the next one."""
        uses, self._uses = self._uses, {}
        rest = iter(uses.items())
        while part := dict(islice(rest, USES_MAX)):
            try:
                await self._send(_report(part).model_dump_json().encode())
            except NotRecorded:
                self._put_back(part)
            except DomainError as error:
                # It may have been added up: a second time would be wrong by more than none.
                _log.warning("the use of %d API keys may be lost (%s)", len(part), error.code)

    def _put_back(self, part: dict[tuple[int, str], _Use]) -> None:
        for key, use in part.items():
            after = self._uses.get(key)
            self._uses[key] = use if after is None else _Use(use.requests + after.requests, after.last_used)


def _report(part: dict[tuple[int, str], _Use]) -> KeyUses:
    return KeyUses(
        uses=[
            KeyUse(
                project_id=project_id,
                key_id=key_id,
                requests=use.requests,
                last_used_at=datetime.fromtimestamp(use.last_used, UTC),
            )
            for (project_id, key_id), use in part.items()
        ]
    )
