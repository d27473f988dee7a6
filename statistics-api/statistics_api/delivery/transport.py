"""Sends the requests of an `httpx2.AsyncClient` to one server, over kept connections, with one write for each request.

It uses HTTP/1.1, with complete bodies and without content codings. Its errors tell a caller whether it may repeat a
write: `ConnectError`, `ConnectTimeout`, `PoolTimeout` and `LocalProtocolError` say that nothing was sent; any other
error says that the server may have received the request.
"""

import asyncio
import time
from collections import deque
from functools import partial
from ssl import SSLContext

import httpx2

from statistics_api.delivery.connection import Connection

# Extensions of a request: its deadline as a reading of `time.monotonic`; the path and query to send unchanged, instead
# of those of its URL.
DEADLINE = "deadline"
TARGET = "target"
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.LocalProtocolError,
    httpx2.UnsupportedProtocol,
)


class KeptConnections(httpx2.AsyncBaseTransport):
    """At most `connections_max` connections to the origin of `url`, each of which is kept for `keep_alive_seconds`.

    A request waits for a connection, and for its response, until its deadline; a connection must be made within
    `connect_seconds_max`. The transport belongs to one event loop.
    """

    def __init__(
        self,
        url: httpx2.URL,
        *,
        connections_max: int,
        keep_alive_seconds: float,
        connect_seconds_max: float,
        response_bytes_max: int,
        ssl_context: SSLContext | None = None,
    ) -> None:
        self._origin = _origin_of(url)
        self._ssl_context = None
        if url.scheme == "https":
            self._ssl_context = ssl_context or httpx2.create_ssl_context(trust_env=False)
        self._keep_alive_seconds = keep_alive_seconds
        self._connect_seconds_max = connect_seconds_max
        self._response_bytes_max = response_bytes_max
        self._slots = asyncio.Semaphore(connections_max)
        self._open: set[Connection] = set()
        # The connection that was used last is used next, so that connections from a burst can expire.
        self._idle: deque[tuple[float, Connection]] = deque()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and read its response, whole.

        Raises:
            ConnectError, ConnectTimeout, PoolTimeout, UnsupportedProtocol, LocalProtocolError: nothing was sent.
            ReadError, ReadTimeout, RemoteProtocolError: the server may have received the request.
        """
        if _origin_of(request.url) != self._origin:
            raise httpx2.UnsupportedProtocol("this transport has one origin")
        data = _encode(request)
        deadline: float | None = request.extensions.get(DEADLINE)
        await self._take_slot(deadline)
        try:
            connection = self._take_idle() or await self._connect(deadline)
            response = await connection.exchange(
                data, has_body=request.method != "HEAD", seconds_max=_seconds_until(deadline)
            )
            if connection.is_reusable:
                self._idle.append((time.monotonic(), connection))
        finally:
            self._slots.release()
        return response

    async def aclose(self) -> None:
        """Close every connection; requests that are under way fail."""
        for connection in tuple(self._open):
            connection.abort()

    async def _take_slot(self, deadline: float | None) -> None:
        seconds = _seconds_until(deadline)
        if seconds is not None and seconds <= 0:
            raise httpx2.PoolTimeout("the deadline passed before anything was sent")
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise httpx2.PoolTimeout("every connection was busy until the deadline") from error

    def _take_idle(self) -> Connection | None:
        self._close_expired()
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_quiet():
                return connection
            connection.abort()
        return None

    def _close_expired(self) -> None:
        oldest = time.monotonic() - self._keep_alive_seconds
        while self._idle and (self._idle[0][0] < oldest or not self._idle[0][1].is_reusable):
            self._idle.popleft()[1].abort()

    async def _connect(self, deadline: float | None) -> Connection:
        seconds = _seconds_until(deadline)
        seconds = self._connect_seconds_max if seconds is None else min(seconds, self._connect_seconds_max)
        _, host, port = self._origin
        new_connection = partial(Connection, self._response_bytes_max, self._open.discard)
        try:
            async with asyncio.timeout(seconds):
                _, connection = await asyncio.get_running_loop().create_connection(
                    new_connection, host, port, ssl=self._ssl_context
                )
        except TimeoutError as error:
            raise httpx2.ConnectTimeout(f"no connection in {seconds:.1f} s") from error
        except OSError as error:  # ssl.SSLError is one, too
            raise httpx2.ConnectError(str(error)) from error
        if not connection.is_reusable:
            raise httpx2.ConnectError("the connection was lost as soon as it was up")
        self._open.add(connection)
        return connection


def _origin_of(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


def _seconds_until(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.monotonic()


def _encode(request: httpx2.Request) -> bytes:
    """A request as HTTP has it, with its whole body."""
    headers = request.headers.raw
    target: bytes = request.extensions.get(TARGET, request.url.raw_path)
    lines = [b"%s %s HTTP/1.1" % (request.method.encode(), target)]
    lines += [b"%s: %s" % header for header in headers]
    head = b"\r\n".join([*lines, b"", b""])
    # A line end within a header would begin another one, or another request; a space ends the target.
    line_ends = len(headers) + 2
    if head.count(b"\n") != line_ends or head.count(b"\r") != line_ends or b"\0" in head or b" " in target:
        raise httpx2.LocalProtocolError("a header holds a line end or a NUL, or the target a space")
    if "transfer-encoding" in request.headers:
        raise httpx2.LocalProtocolError("only whole bodies are sent")
    return head + request.content
