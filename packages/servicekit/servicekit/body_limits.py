"""Bodies are bounded in bytes and in seconds. uvicorn bounds neither."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicekit.errors import BodyTooLarge, BodyTooSlow
from servicekit.problems import Renderer

BODY_BYTES_MAX = 64 * 1024
BATCH_BYTES_MAX = 4 * 1024 * 1024


class BodyLimits:
    """Refuses a declared length at once, and counts what really arrives, chunked or not.

    `large` are the paths that take up to `BATCH_BYTES_MAX`.
    """

    def __init__(self, app: ASGIApp, *, large: frozenset[str], seconds_max: float, render: Renderer) -> None:
        self._app = app
        self._large = large
        self._seconds_max = seconds_max
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bound what the application below may receive."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        bytes_max = BATCH_BYTES_MAX if scope["path"].rstrip("/") in self._large else BODY_BYTES_MAX
        too_large = BodyTooLarge(f"The body is larger than {bytes_max} bytes")
        if _declared_bytes(scope) > bytes_max:
            await self._render(scope, too_large)(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._seconds_max
        received = 0
        complete = False

        async def bounded_receive() -> Message:
            nonlocal received, complete
            if complete:
                return await receive()  # only waits for the client to go away
            try:
                async with asyncio.timeout_at(ends):
                    message = await receive()
            except TimeoutError as error:
                raise BodyTooSlow(f"The body did not arrive within {self._seconds_max:g} seconds") from error
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise too_large
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, bounded_receive, send)


def _declared_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)  # the HTTP parser has refused everything but digits
    return 0
