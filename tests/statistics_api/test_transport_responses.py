"""Which responses the transport understands, and which connections are good for another request."""

import asyncio
import socket
from contextlib import closing

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statistics_api.delivery.connection import Connection
from tests.statistics_api.transport_server import (
    LARGE,
    OK,
    SECONDS,
    Peer,
    answering,
    ask,
    serving,
)

UNDERSTOOD = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc"),
    "nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", 200, b"abc"),
    "a trailer": (
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        201,
        b"abc",
    ),
    "an interim response": (
        b"HTTP/1.1 103 Early\r\nX-Interim: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na",
        200,
        b"a",
    ),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "an error": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 404, b"no"),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
async def test_a_response_is_understood_and_its_connection_is_kept(name: str) -> None:
    sent, status, body = UNDERSTOOD[name]
    async with serving(answering(sent)) as (server, client):
        for _ in range(3):
            response = await ask(client)
            assert (response.status_code, response.content) == (status, body)
            assert not {"x-trailer", "x-interim"} & set(response.headers)
        assert server.accepted == 1


# A body that is announced and does not come: the connection is good for nothing more.
@pytest.mark.parametrize(
    ("method", "sent"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD", b"HTTP/1.1 404 Not Found\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ],
)
async def test_a_response_without_a_body_is_not_waited_for(method: str, sent: bytes) -> None:
    async with serving(answering(sent)) as (_, client):
        for _ in range(2):
            response = await ask(client, method)
            assert (response.status_code, response.content) == (int(sent[9:12]), b"")


@pytest.mark.parametrize(
    "sent", [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), OK.replace(b"1.1", b"1.0")]
)
async def test_a_connection_that_the_server_does_not_keep_is_not_used_again(sent: bytes) -> None:
    async with serving(answering(sent)) as (server, client):
        for asked in (1, 2, 3):
            assert (await ask(client)).content == b"ok"
            assert server.accepted == asked


NOT_UNDERSTOOD = {
    "another protocol": b"220 mail.example.org ESMTP\r\n",
    "a broken header": b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "a length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a broken chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "another protocol's upgrade": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz",
    "a coding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nab",
    "more than the bound": b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000,
    "headers without an end": b"HTTP/1.1 200 OK\r\n" + b"x-name: value\r\n" * 100_000,
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
async def test_what_is_no_response_leaves_the_outcome_unknown_and_no_connection(name: str) -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        if server.accepted > 1:
            await peer.send(OK)
        else:
            await peer.send(NOT_UNDERSTOOD[name])
            await peer.end()

    async with serving(handle) as (server, client):
        with pytest.raises(httpx2.RemoteProtocolError):
            await ask(client)
        assert (await ask(client)).content == b"ok"


async def test_an_unsolicited_response_is_not_taken_for_the_next_one() -> None:
    async with serving(answering(OK + OK.replace(b"ok", b"no"), OK)) as (server, client):
        assert [(await ask(client)).content for _ in range(2)] == [b"ok", b"ok"]
        assert server.accepted == 2


async def test_an_answer_to_half_a_request_is_read_and_the_rest_runs_into_no_other() -> None:
    async def handle(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n" if server.accepted == 1 else OK)
        await asyncio.sleep(SECONDS)

    async with serving(handle) as (server, client):
        assert (await ask(client, content=LARGE)).status_code == 413
        assert (await ask(client)).content == b"ok"
        assert server.accepted == 2


async def test_a_large_request_and_a_large_response_arrive_whole() -> None:
    async def handle(peer: Peer) -> None:
        body = (await peer.request()).partition(b"\r\n\r\n")[2]
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))

    async with serving(handle, response_bytes_max=len(LARGE) + 1_000) as (_, client):
        assert (await ask(client, content=LARGE)).content == LARGE


@pytest.mark.parametrize("name", UNDERSTOOD)
@given(data=st.data())
def test_a_response_means_the_same_however_it_is_cut(name: str, data: st.DataObject) -> None:
    sent, status, body = UNDERSTOOD[name]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1))))
    pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]

    async def read() -> tuple[httpx2.Response, bool]:
        """Through the callback of the event loop: sockets would join the pieces again."""
        ours, theirs = socket.socketpair()
        with closing(theirs):
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(1_000_000, lambda _: None), sock=ours
            )
            exchange = asyncio.create_task(connection.exchange(b"x", has_body=True, seconds_max=SECONDS))
            await asyncio.sleep(0)
            for piece in pieces:
                assert not exchange.done()
                connection.data_received(piece)
            response, is_reusable = await exchange, connection.is_reusable
            connection.abort()
            await asyncio.sleep(0)
            return response, is_reusable

    response, is_reusable = asyncio.run(read())
    assert (response.status_code, response.content) == (status, body)
    assert is_reusable
