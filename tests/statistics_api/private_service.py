"""A private service that does what a test tells it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from statistics_api.delivery.device_api import DeviceApi

Reply = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Private:
    """Reads whole requests, remembers their heads, and replies as it is told."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.heads: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the test is over
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(
                    int((head + "content-length: 0\r\n").split("content-length: ")[1].split("\r\n")[0])
                )
                self.heads.append(head)
                await self._reply(writer)
                if writer.is_closing():
                    return
        writer.close()


@asynccontextmanager
async def private(reply: Reply) -> AsyncIterator[tuple[Private, DeviceApi]]:
    double = Private(reply)
    server = await asyncio.start_server(double.serve, "127.0.0.1", 0)
    double.port = server.sockets[0].getsockname()[1]
    api = DeviceApi(f"http://127.0.0.1:{double.port}", "a-service-token")
    try:
        yield double, api
    finally:
        await api.close()
        server.close()


def answering(
    status: int, body: bytes, *, headers: bytes = b"content-type: application/json\r\n", then_close: bool = False
) -> Reply:
    async def reply(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %d X\r\n%scontent-length: %d\r\n\r\n%s" % (status, headers, len(body), body))
        await writer.drain()
        if then_close:
            writer.close()

    return reply
