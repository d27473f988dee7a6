"""uvicorn, with the limits that it lacks and the time-outs this product relies on."""

import asyncio
import signal
import sys
from typing import cast

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from servicekit.shedding import Shedding

REQUEST_SECONDS_MAX = 15
# Below the 60 s that Kubernetes grants after SIGTERM, less the 15 s its preStop hook sleeps.
GRACEFUL_SECONDS_MAX = 20


_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedRequests(Shedding):
    """Closes a connection on which a request does not arrive whole, headers and body, in `REQUEST_SECONDS_MAX`.

    uvicorn's keep-alive time-out covers the silence between two requests, and ends with the first byte. A request
    that arrives in one piece costs no timer.
    """

    _incomplete = True  # a new connection owes us its first request
    _due: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._watch()

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    @override
    def on_message_begin(self) -> None:
        self._incomplete = True
        super().on_message_begin()

    @override
    def on_message_complete(self) -> None:
        self._incomplete = False
        super().on_message_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._incomplete = False
        self._watch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self._incomplete:
            if self._due is None:
                self._due = self.loop.call_later(REQUEST_SECONDS_MAX, self._close)
        elif self._due is not None:
            self._due.cancel()
            self._due = None

    def _close(self) -> None:
        # None until the first request's headers are there, whatever uvicorn's annotation says.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(_TOO_SLOW)
        self.transport.close()


def serve(factory: str, *, host: str, port: int, keep_alive_seconds: int, in_flight_max: int, workers: int = 1) -> None:
    """Serve the ASGI application that `factory` ("module:function") makes, until SIGTERM.

    `in_flight_max` is of each worker.
    """
    # After an orderly shutdown uvicorn raises the signal again, for whoever handled it before: that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=BoundedRequests,
        ws="none",
        access_log=False,  # RequestLog writes them
        log_config=None,
        server_header=False,
        proxy_headers=False,  # only the rate limit needs the client's address, and reads it by its own rules
        backlog=4096,
        limit_concurrency=in_flight_max,  # as Shedding reads it: requests, not connections
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=GRACEFUL_SECONDS_MAX,
    )
