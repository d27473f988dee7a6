"""Calls the private service's routes under `/administration/` for the request of a client."""

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from fastapi import Request
from pydantic import BaseModel
from uuid_utils import uuid7

from statistics_api.delivery.device_api import DeviceApi, DeviceApiResponse

# The longest time that a client waits for such a call, in seconds.
CALL_SECONDS_MAX = 10.0
_PREFIX = "/administration"


class Administration:
    """The calls of one process. A call goes on when its client is gone: a cancelled one would close its connection."""

    def __init__(self, device_api: DeviceApi) -> None:
        self._device_api = device_api
        # The event loop itself holds only a weak reference to a task.
        self._running: set[asyncio.Task[DeviceApiResponse]] = set()

    async def send(self, method: str, target: str, body: bytes | None, request_id: str) -> DeviceApiResponse:
        """Send one request. `target` is percent-encoded and begins with a slash. Raises as `DeviceApi.request`."""
        task = asyncio.create_task(
            self._device_api.request(
                method, _PREFIX + target, body=body, deadline=time.monotonic() + CALL_SECONDS_MAX, request_id=request_id
            )
        )
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for the calls whose clients are gone; each ends by its deadline."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def _forget(self, task: "asyncio.Task[DeviceApiResponse]") -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # otherwise asyncio reports it as never retrieved when the client is gone


async def report_key_usage(administration: Administration, body: bytes) -> None:
    """Add up the use of API keys, as the JSON of KeyUses says it. Raises as `call`."""
    await administration.send("POST", "/key-uses", body, str(uuid7()))


async def call(
    request: Request,
    method: str,
    *segments: str,
    body: BaseModel | None = None,
    query: Mapping[str, str] | None = None,
) -> DeviceApiResponse:
    """Call `/administration/<segments>` of the private service. The segments and the query are plain text.

    A field that is not set in `body` is not sent, so the private service can tell it from one that is null.

    Raises:
        NotRecorded: nothing was stored and nothing will be; the client may repeat the request.
        OutcomeUnknown: it may have been done. A method that only reads never raises this.
        DomainError: any other refusal, as the private service raised it (404, 409, 422 with its fields, 429, ...).
    """
    target = "".join(f"/{quote(segment, safe='')}" for segment in segments)
    if query:
        target += f"?{urlencode(query)}"
    content = None if body is None else body.model_dump_json(by_alias=True, exclude_unset=True).encode()
    administration: Administration = request.state.administration
    return await administration.send(method, target, content, request.scope["request_id"])
