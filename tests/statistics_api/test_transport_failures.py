"""What the transport admits when it goes wrong: nothing was sent, or nothing is known."""

import asyncio
import socket
import time
from contextlib import closing

import httpx2
import pytest

from local.ports import free_port
from tests.statistics_api.transport_server import (
    OK,
    SECONDS,
    Handler,
    Peer,
    answering,
    ask,
    client_of,
    serving,
    silent,
)


async def test_a_port_or_a_name_without_a_server_means_that_nothing_was_sent() -> None:
    async with client_of(free_port()) as client:
        with pytest.raises(httpx2.ConnectError):
            await ask(client)
    async with client_of(80, host="nobody.invalid") as client:
        with pytest.raises((httpx2.ConnectError, httpx2.ConnectTimeout)):
            await ask(client)


async def test_a_server_that_does_not_accept_means_that_nothing_was_sent() -> None:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as listener:
        port = listener.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))):  # it takes the only place in the queue
            async with client_of(port, connect_seconds_max=0.2, connections_max=2) as client:
                begun = time.monotonic()
                outcomes = await asyncio.gather(*(ask(client) for _ in range(3)), return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {httpx2.ConnectTimeout}
                assert time.monotonic() - begun < 1
            async with client_of(port) as client:
                begun = time.monotonic()
                with pytest.raises(httpx2.ConnectTimeout):
                    await ask(client, seconds=0.1)
                assert time.monotonic() - begun < 1


async def test_a_deadline_that_has_passed_means_that_nothing_was_sent() -> None:
    async with serving(answering(OK)) as (server, client):
        for _ in range(2):
            with pytest.raises(httpx2.PoolTimeout):
                await ask(client, seconds=-0.001)
        assert server.accepted == 0


async def test_when_every_connection_is_busy_until_the_deadline_nothing_was_sent() -> None:
    async with serving(silent, connections_max=2) as (server, client):
        busy = [asyncio.create_task(ask(client, seconds=0.5)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(httpx2.PoolTimeout):
            await ask(client, seconds=0.1)
        for outcome in await asyncio.gather(*busy, return_exceptions=True):
            assert isinstance(outcome, httpx2.ReadTimeout)
        assert server.accepted == 2


async def reset_at_once(peer: Peer) -> None:
    peer.reset()


async def reset_after_the_request(peer: Peer) -> None:
    await peer.request()
    peer.reset()


async def farewell_after_the_request(peer: Peer) -> None:
    await peer.request()


async def half_close(peer: Peer) -> None:
    await peer.request()
    peer.writer.write_eof()
    await asyncio.sleep(SECONDS)


async def half_a_response(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK[:-1])


async def reset_in_the_response(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK[:-1])
    peer.reset()


async def no_length(peer: Peer) -> None:
    await peer.request()
    await peer.send(b"HTTP/1.1 200 OK\r\n\r\nok")  # whole, or cut off? Nothing tells


@pytest.mark.parametrize(
    "handler",
    [
        reset_after_the_request,
        farewell_after_the_request,
        half_close,
        half_a_response,
        reset_in_the_response,
        no_length,
    ],
)
async def test_a_connection_lost_after_the_request_leaves_the_outcome_unknown(handler: Handler) -> None:
    async with serving(handler) as (_, client):
        for _ in range(2):
            with pytest.raises(httpx2.ReadError):
                await ask(client)


async def test_a_connection_that_is_reset_as_soon_as_it_is_up_is_an_error_of_the_transport() -> None:
    async with serving(reset_at_once) as (_, client):
        for _ in range(50):
            with pytest.raises((httpx2.ConnectError, httpx2.ReadError)):
                await ask(client)


async def test_silence_until_the_deadline_leaves_the_outcome_unknown_and_no_connection() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await (peer.end() if server.accepted == 1 else peer.send(OK))

    async with serving(handle, connections_max=1) as (server, client):
        begun = time.monotonic()
        with pytest.raises(httpx2.ReadTimeout):
            await ask(client, seconds=0.2)
        assert 0.15 < time.monotonic() - begun < 1
        assert (await ask(client)).content == b"ok"
        assert server.open <= 1


async def test_each_byte_of_a_slow_response_does_not_move_the_deadline() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        for byte in OK * 3:
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.02)

    async with serving(handle) as (_, client):
        with pytest.raises(httpx2.ReadTimeout):
            await ask(client, seconds=0.2)
