"""The proxy does to a connection what it says, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.proxy import Break, TcpProxy

REQUEST, REPLY = b"request", b"reply"


class Upstream:
    """Answers each request with one reply, and remembers what arrived."""

    def __init__(self) -> None:
        self.received: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                self.received.append(data)
                writer.write(REPLY)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Upstream, TcpProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    async with TcpProxy(server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        try:
            yield upstream, proxy, reader, writer
        finally:
            writer.close()
    server.close()


async def test_a_good_network_passes_everything_on() -> None:
    async with proxied() as (upstream, _, reader, writer):
        for _ in range(3):
            writer.write(REQUEST)
            assert await reader.read(1000) == REPLY
        assert upstream.received == [REQUEST] * 3


async def test_latency_delays_each_direction() -> None:
    async with proxied() as (_, proxy, reader, writer):
        proxy.network.latency_seconds = 0.1
        begun = time.monotonic()
        writer.write(REQUEST)
        assert await reader.read(1000) == REPLY
        assert 0.2 <= time.monotonic() - begun < 0.5


async def test_a_late_reply_belongs_to_a_request_that_was_in_time() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.reply_latency_seconds = 0.2
        writer.write(REQUEST)
        await asyncio.sleep(0.1)
        assert upstream.received == [REQUEST]
        assert await reader.read(1000) == REPLY


async def test_bandwidth_is_bounded() -> None:
    async with proxied() as (_, proxy, reader, writer):
        proxy.network.bytes_per_second = 10_000
        begun = time.monotonic()
        writer.write(b"x" * 1000)
        await reader.read(1000)
        assert time.monotonic() - begun >= 0.1


async def test_before_the_forward_the_request_never_arrives() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.breaks = Break.BEFORE_FORWARD
        writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await reader.read(1000)
        assert upstream.received == []


async def test_before_the_reply_the_request_arrived() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.breaks = Break.BEFORE_REPLY
        writer.write(REQUEST)
        with pytest.raises(ConnectionResetError):
            await reader.read(1000)
        assert upstream.received == [REQUEST]


async def test_after_the_reply_the_connection_is_dead() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.breaks = Break.AFTER_REPLY
        writer.write(REQUEST)
        assert await reader.read(1000) == REPLY
        with pytest.raises(ConnectionResetError):
            await reader.read(1000)
        assert upstream.received == [REQUEST]


async def test_half_close_ends_one_direction_only() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.breaks = Break.HALF_CLOSE
        writer.write(REQUEST)
        assert await reader.read() == REPLY  # to the end of the stream
        writer.write(REQUEST)
        await writer.drain()
        await asyncio.sleep(0.05)
        assert upstream.received == [REQUEST] * 2


async def test_a_black_hole_is_silent_and_gives_everything_back_late() -> None:
    async with proxied() as (upstream, proxy, reader, writer):
        proxy.network.black_hole = True
        writer.write(REQUEST)
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", proxy.port)  # the kernel still accepts
        new_writer.write(REQUEST)
        for silent in (reader, new_reader):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(silent.read(1000), 0.1)
        assert upstream.received == []
        proxy.network.black_hole = False
        assert await reader.read(1000) == REPLY
        assert await new_reader.read(1000) == REPLY
        new_writer.close()


async def test_severing_resets_what_is_open_and_takes_new_connections() -> None:
    async with proxied() as (_, proxy, reader, _):
        await proxy.sever()
        with pytest.raises(ConnectionResetError):
            await reader.read(1000)
        new_reader, new_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        new_writer.write(REQUEST)
        assert await new_reader.read(1000) == REPLY
        new_writer.close()
