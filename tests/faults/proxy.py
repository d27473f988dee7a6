"""A TCP proxy that can be a bad network: slow, narrow, broken at a chosen moment, or silent."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from random import Random
from typing import Self

_CHUNK_BYTES = 65_536
_POLL_SECONDS = 0.01
# A reset takes away what its receiver has not read yet.
_DELIVERY_SECONDS = 0.01


class Break(Enum):
    """When a connection breaks, and how."""

    BEFORE_FORWARD = auto()  # reset: the request never reaches the server
    BEFORE_REPLY = auto()  # reset: the server has done the work, and nobody is told
    AFTER_REPLY = auto()  # reset after a reply: the next request finds a dead connection
    HALF_CLOSE = auto()  # a reply, then the end of the stream, while the other direction stays open


@dataclass
class Network:
    """What the network is like now; may be changed at any time, also for connections that are open."""

    latency_seconds: float = 0.0
    # Of replies only, to let a request arrive in time and its answer come too late.
    reply_latency_seconds: float = 0.0
    bytes_per_second: float | None = None
    breaks: Break | None = None
    # How many of the moments at which it could break it does.
    break_share: float = 1.0
    # Nothing passes. Connections stay up, also new ones; what was sent meanwhile arrives at the end, late.
    black_hole: bool = False


class TcpProxy:
    """Listens on a free local port, `port`, and passes everything on to `upstream_port`."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.network = Network()
        self._random = Random(upstream_port)  # noqa: S311 - a bad network needs no secrets
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self.sever()

    async def sever(self) -> None:
        """Reset every connection."""
        open_now = list(self._open)
        for task in open_now:
            task.cancel()
        await asyncio.gather(*open_now, return_exceptions=True)

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        task.add_done_callback(self._open.discard)
        writers = [client]
        try:
            await self._while_black_hole()
            server_reader, server = await asyncio.open_connection("127.0.0.1", self.upstream_port, limit=_CHUNK_BYTES)
            writers.append(server)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(client_reader, server, is_reply=False))
                both.create_task(self._pump(server_reader, client, is_reply=True))
        except* (OSError, _Broken):
            pass  # one side is gone, or is meant to be: below, so is the other
        except* asyncio.CancelledError:
            pass  # `sever`
        finally:
            for writer in writers:
                _reset(writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            await self._delay(len(data), is_reply=is_reply)
            await self._while_black_hole()
            breaks = self.network.breaks if self._random.random() < self.network.break_share else None
            if breaks is (Break.BEFORE_REPLY if is_reply else Break.BEFORE_FORWARD):
                raise _Broken
            writer.write(data)
            await writer.drain()
            if is_reply and breaks is Break.AFTER_REPLY:
                await asyncio.sleep(_DELIVERY_SECONDS)
                raise _Broken
            if is_reply and breaks is Break.HALF_CLOSE:
                break
        if writer.can_write_eof():
            with suppress(OSError):  # reset by its other end meanwhile
                writer.write_eof()

    async def _delay(self, count: int, *, is_reply: bool) -> None:
        seconds = self.network.latency_seconds + (self.network.reply_latency_seconds if is_reply else 0.0)
        if self.network.bytes_per_second is not None:
            seconds += count / self.network.bytes_per_second
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def _while_black_hole(self) -> None:
        while self.network.black_hole:  # noqa: ASYNC110 - a flag that tests set as they like
            await asyncio.sleep(_POLL_SECONDS)


class _Broken(Exception):
    """This connection is to be reset."""


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close at once and, if the other end still listens, with RST."""
    connection = writer.get_extra_info("socket")
    with suppress(OSError):  # closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
