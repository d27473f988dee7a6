"""Bodies are bounded in bytes. uvicorn bounds them neither in bytes nor, without server.py, in seconds."""

from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicekit.errors import BodyTooLarge
from servicekit.headers import header
from servicekit.problems import Renderer

BODY_BYTES_MAX = 64 * 1024
BATCH_BYTES_MAX = 4 * 1024 * 1024


class BodyLimits:
    """Refuses a declared length at once, and counts what arrives where none is declared.

    `large` are the paths that take more than `BODY_BYTES_MAX`, and how many bytes each of them takes.
    """

    def __init__(self, app: ASGIApp, *, large: Mapping[str, int], render: Renderer) -> None:
        self._app = app
        self._large = large
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bound what the application below may receive."""
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            bytes_max = self._large.get(scope["path"].rstrip("/"), BODY_BYTES_MAX)
            declared = header(scope, b"content-length")
            if declared is None:
                receive = _counted(receive, bytes_max)
            elif int(declared) > bytes_max:  # the HTTP parser has refused everything but digits
                await self._render(scope, _too_large(bytes_max))(scope, receive, send)
                return
            # A declared length within the bound needs no counting: the HTTP parser ends the body there.
        await self._app(scope, receive, send)


def _counted(receive: Receive, bytes_max: int) -> Receive:
    received = 0

    async def counted_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > bytes_max:
            raise _too_large(bytes_max)
        return message

    return counted_receive


def _too_large(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {bytes_max} bytes")
