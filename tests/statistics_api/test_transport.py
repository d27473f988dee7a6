"""What the transport sends, and which connections it keeps."""

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from statistics_api.delivery.transport import NOT_SENT, TARGET
from tests.statistics_api.transport_server import (
    OK,
    SECONDS,
    Peer,
    answering,
    ask,
    client_of,
    serving,
)


async def test_a_request_is_sent_as_it_is() -> None:
    sent: list[bytes] = []

    async def handle(peer: Peer) -> None:
        sent.append(await peer.request())
        await peer.send(OK)

    async with serving(handle) as (server, client):
        extensions = {TARGET: b"/a/../b%2Fc?d=e"}
        response = await ask(client, "PUT", content=b"\0body", headers={b"X-Name": b"value"}, extensions=extensions)

    head, _, body = sent[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"PUT /a/../b%2Fc?d=e HTTP/1.1"
    assert f"host: 127.0.0.1:{server.port}".encode() in [line.lower() for line in lines]
    assert b"X-Name: value" in lines
    assert body == b"\0body"
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ((b"x-name", b"a\r\nx-other: b"), b"/"),
        ((b"x-name", b"a\nb"), b"/"),
        ((b"x-name", b"a\rb"), b"/"),
        ((b"x-name", b"a\0b"), b"/"),
        ((b"x-name: a\r\nx-other", b"b"), b"/"),
        ((b"transfer-encoding", b"chunked"), b"/"),
        ((b"x-name", b"a"), b"/a HTTP/1.1\r\nx-other: b\r\n\r\n"),
        ((b"x-name", b"a"), b"/a b"),
    ],
)
async def test_what_would_be_another_request_is_not_sent(header: tuple[bytes, bytes], target: bytes) -> None:
    async with serving(answering(OK)) as (server, client):
        with pytest.raises(httpx2.LocalProtocolError):
            await ask(client, content=b"x", headers=dict([header]), extensions={TARGET: target})
        assert server.accepted == 0
        assert (await ask(client, content=b"x")).status_code == 200


async def test_another_origin_is_not_served() -> None:
    async with serving(answering(OK)) as (server, client):
        for url in (f"http://127.0.0.2:{server.port}/", f"https://127.0.0.1:{server.port}/", "http://127.0.0.1/"):
            with pytest.raises(httpx2.UnsupportedProtocol):
                await client.get(url)
        assert server.accepted == 0


async def test_a_redirect_is_an_answer_like_any_other() -> None:
    async with serving(answering(b"HTTP/1.1 302 X\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", OK)) as (_, client):
        assert (await ask(client)).status_code == 302
        assert (await ask(client)).status_code == 200


async def test_connections_are_kept_and_bounded() -> None:
    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            await asyncio.sleep(0.001)
            await peer.send(OK)

    async with serving(handle, connections_max=3) as (server, client):
        for _ in range(3):
            responses = await asyncio.gather(*(ask(client) for _ in range(50)))
            assert [response.content for response in responses] == [b"ok"] * 50
        assert server.accepted == server.open_max == 3


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    async with serving(answering(OK), keep_alive_seconds=0.1) as (server, client):
        await asyncio.gather(*(ask(client) for _ in range(4)))
        await asyncio.sleep(0.15)
        assert server.accepted == 4
        await ask(client)
        await asyncio.sleep(0.05)
        assert server.accepted == 5
        assert server.open == 1, "those that a burst needed are closed"


class BlockingServer(threading.Thread):
    """Answers one connection, then does `then` to it while the client's event loop is busy, then answers another."""

    def __init__(self, then: Callable[[socket.socket], None]) -> None:
        super().__init__(daemon=True)
        self._then = then
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.done = threading.Event()
        self.start()

    def run(self) -> None:
        with closing(self._listener):
            first, _ = self._listener.accept()
            first.recv(65_536)
            first.sendall(OK)
            time.sleep(0.05)  # the client has read that
            self._then(first)
            self.done.set()
            second, _ = self._listener.accept()
            with closing(first), closing(second):
                second.recv(65_536)
                second.sendall(OK.replace(b"ok", b"2."))


@pytest.mark.parametrize(
    "then",
    [
        lambda connection: connection.shutdown(socket.SHUT_WR),
        lambda connection: connection.close(),
        lambda connection: connection.sendall(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"),
    ],
    ids=["half-close", "close", "unasked"],
)
async def test_what_the_server_did_to_an_idle_connection_is_seen_before_the_event_loop_sees_it(
    then: Callable[[socket.socket], None],
) -> None:
    server = BlockingServer(then)
    async with client_of(server.port) as client:
        assert (await ask(client)).content == b"ok"
        assert server.done.wait(SECONDS)  # blocks the loop, on purpose
        assert (await ask(client)).content == b"2."


async def test_a_server_that_closes_without_a_word_is_never_misunderstood() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)

    async with serving(handle) as (_, client):
        answered = 0
        for _ in range(300):
            try:
                answered += (await ask(client)).content == b"ok"
            except httpx2.ReadError:  # the close and the request met each other on the way
                continue
        assert answered > 150


async def test_cancelled_calls_use_up_no_connections() -> None:
    is_slow = True

    async def handle(peer: Peer) -> None:
        while True:
            await peer.request()
            if is_slow:
                await peer.end()
            await peer.send(OK)

    async with serving(handle, connections_max=8) as (server, client):
        # Cancelled while they wait for a connection, while it is made, and while the response is awaited.
        for seconds in (0.0, 0.001, 0.005, 0.02, 0.05) * 10:
            calls = [asyncio.create_task(ask(client)) for _ in range(100)]
            await asyncio.sleep(seconds)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
        is_slow = False
        responses = await asyncio.gather(*(ask(client) for _ in range(100)))
        assert [response.content for response in responses] == [b"ok"] * 100
        assert server.open_max <= 2 * 8  # the server learns a little later that one was closed
        assert server.open <= 8


async def test_a_closed_client_leaves_no_connection() -> None:
    async def handle(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        await peer.request()
        await peer.end()

    async with serving(handle) as (server, client):
        await asyncio.gather(*(ask(client) for _ in range(4)))
        under_way = asyncio.create_task(ask(client))
        await asyncio.sleep(0.05)
        await client.aclose()
        with pytest.raises(httpx2.ReadError):
            await under_way
        await asyncio.sleep(0.05)
        assert server.open == 0


def test_the_errors_that_say_that_nothing_was_sent() -> None:
    assert not {httpx2.ReadError, httpx2.ReadTimeout, httpx2.RemoteProtocolError, httpx2.WriteError} & set(NOT_SENT)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    options = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", str(file.with_suffix(".crt"))]
    subprocess.run(["openssl", "req", *options.split(), *files], check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


async def test_tls_is_spoken_to_a_server_that_is_trusted_and_to_no_other(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=certificate.with_suffix(".crt"))
    async with serving(answering(OK), tls=tls, ssl_context=trusting) as (server, client):
        for _ in range(5):
            assert (await ask(client, content=b"x" * 100_000)).content == b"ok"
        assert server.accepted <= 2  # what TLS sends after the handshake may cost the first connection
        async with client_of(server.port, "https") as distrustful:
            with pytest.raises(httpx2.ConnectError, match="certificate"):
                await ask(distrustful)
