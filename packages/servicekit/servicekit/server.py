"""uvicorn, with the limits that it lacks and the time-outs this product relies on."""

import asyncio

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS_MAX = 15
# Below the 60 s that Kubernetes grants after SIGTERM, less the 15 s its preStop hook sleeps.
GRACEFUL_SECONDS_MAX = 20


class BoundedHeaders(HttpToolsProtocol):
    """Closes a connection whose request line and headers do not arrive in time.

    uvicorn's keep-alive time-out covers the silence between two requests, and ends with the first byte.
    """

    _headers_due: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._expect_headers()

    @override
    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._headers_due is None:
            self._expect_headers()

    @override
    def on_headers_complete(self) -> None:
        self._stop_expecting()
        super().on_headers_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    def _expect_headers(self) -> None:
        self._headers_due = self.loop.call_later(HEADER_SECONDS_MAX, self.transport.close)

    def _stop_expecting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None


def serve(factory: str, *, host: str, port: int, keep_alive_seconds: int, workers: int = 1) -> None:
    """Serve the ASGI application that `factory` ("module:function") makes, until SIGTERM."""
    uvicorn.run(
        factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedHeaders,
        ws="none",
        access_log=False,  # RequestLog writes them
        log_config=None,
        server_header=False,
        proxy_headers=False,  # only the rate limit needs the client's address, and reads it by its own rules
        backlog=4096,
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=GRACEFUL_SECONDS_MAX,
    )
