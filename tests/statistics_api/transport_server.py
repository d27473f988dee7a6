"""A server that does to each connection what a test tells it, and a client that speaks through our transport."""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Required, TypedDict, Unpack

import httpx2

from statistics_api.delivery.transport import DEADLINE, KeptConnections

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SECONDS = 5.0
LARGE = b"x" * 5_000_000
Handler = Callable[["Peer"], Awaitable[None]]


class Bounds(TypedDict, total=False):
    connections_max: Required[int]
    keep_alive_seconds: Required[float]
    connect_seconds_max: Required[float]
    response_bytes_max: Required[int]
    ssl_context: ssl.SSLContext


class SomeBounds(TypedDict, total=False):
    connections_max: int
    keep_alive_seconds: float
    connect_seconds_max: float
    response_bytes_max: int
    ssl_context: ssl.SSLContext


_BOUNDS: Bounds = {
    "connections_max": 4,
    "keep_alive_seconds": 20.0,
    "connect_seconds_max": 2.0,
    "response_bytes_max": 1_000_000,
}


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def request(self) -> bytes:
        """The next request, whole."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        _, found, rest = head.lower().partition(b"content-length: ")
        return head + (await self._reader.readexactly(int(rest.split(b"\r\n")[0])) if found else b"")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        # Zero seconds of lingering: close() sends a reset instead of a farewell.
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.close()

    async def end(self) -> None:
        """Wait until the client has closed the connection."""
        assert await self._reader.read() == b""


class Server:
    """Counts its connections."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[object] | None] = set()
        self.port = 0
        self.accepted = self.open = self.open_max = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        self.accepted += 1
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._handler(Peer(reader, writer))
        self.open -= 1
        writer.close()

    def stop(self) -> None:
        for task in self._tasks:
            if task is not None:
                task.cancel()


@asynccontextmanager
async def serving(
    handler: Handler, *, tls: ssl.SSLContext | None = None, **bounds: Unpack[SomeBounds]
) -> AsyncIterator[tuple[Server, httpx2.AsyncClient]]:
    """A server and a client of it, whose bounds a test may change."""
    server = Server(handler)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    async with client_of(server.port, "https" if tls else "http", **bounds) as client:
        yield server, client
    server.stop()
    listener.close()


def client_of(
    port: int, scheme: str = "http", host: str = "127.0.0.1", **bounds: Unpack[SomeBounds]
) -> httpx2.AsyncClient:
    url = httpx2.URL(f"{scheme}://{host}:{port}")
    chosen: Bounds = {**_BOUNDS, **bounds}
    return httpx2.AsyncClient(transport=KeptConnections(url, **chosen), base_url=url, trust_env=False)


async def ask(
    client: httpx2.AsyncClient,
    method: str = "POST",
    *,
    seconds: float = SECONDS,
    content: bytes | None = None,
    headers: Mapping[bytes, bytes] | None = None,
    extensions: Mapping[str, object] | None = None,
) -> httpx2.Response:
    deadline = {DEADLINE: time.monotonic() + seconds}
    return await client.request(
        method, "/x", content=content, headers=headers, extensions={**deadline, **(extensions or {})}
    )


def answering(*responses: bytes) -> Handler:
    """Each response in its turn, the last one for ever."""

    async def handle(peer: Peer) -> None:
        left = list(responses)
        while True:
            await peer.request()
            await peer.send(left.pop(0) if len(left) > 1 else left[0])

    return handle


async def silent(peer: Peer) -> None:
    await peer.request()
    await peer.end()
