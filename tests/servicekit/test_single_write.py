"""An answer that is all there is one write; every other is what uvicorn makes of it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servicekit.in_process import RecordingTransport, connect

REQUEST = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n"


def ask(app: ASGIApp, request: bytes = REQUEST, times: int = 1) -> RecordingTransport:
    async def run() -> RecordingTransport:
        protocol, transport = connect(app)
        for _ in range(times):
            protocol.data_received(request)
            await asyncio.wait(protocol.tasks)
        protocol.connection_lost(ConnectionResetError())
        return transport

    return asyncio.run(run())


def test_head_and_body_are_one_write_and_the_connection_serves_on() -> None:
    seen = ask(Response("hello", headers={"X-One": "1"}), times=3)

    assert len(seen.writes) == 3
    for whole in seen.writes:
        head, _, body = whole.partition(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
        assert {b"x-one: 1", b"content-length: 5"} <= set(head.split(b"\r\n"))
        assert body == b"hello"
    assert not seen.is_closed


def test_a_streamed_answer_goes_out_as_it_comes() -> None:
    seen = ask(StreamingResponse(iter(["a", "b"])))

    assert len(seen.writes) >= 3
    assert b"".join(seen.writes).endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes", [REQUEST.replace(b"1.1", b"1.0"), REQUEST[:-2] + b"connection: close\r\n\r\n"]
)
def test_a_client_that_leaves_afterwards_is_told_and_closed(request_bytes: bytes) -> None:
    seen = ask(Response("hello"), request_bytes)

    assert b"connection: close\r\n" in b"".join(seen.writes)
    assert b"".join(seen.writes).endswith(b"\r\n\r\nhello")
    assert seen.is_closed


def test_an_answer_to_head_has_no_body() -> None:
    written = b"".join(ask(Response("hello"), REQUEST.replace(b"GET", b"HEAD")).writes)

    assert b"content-length: 5\r\n" in written
    assert written.endswith(b"\r\n\r\n")


def test_an_answer_that_closes_the_connection_closes_it() -> None:
    seen = ask(Response("hello", headers={"Connection": "close"}))

    assert b"".join(seen.writes).endswith(b"\r\n\r\nhello")
    assert seen.is_closed


def sends(headers: list[tuple[bytes, bytes]], body: bytes) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def test_an_answer_without_a_length_is_chunked() -> None:
    written = b"".join(ask(sends([], b"hello")).writes)

    assert b"transfer-encoding: chunked" in written
    assert written.endswith(b"5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("declared", [b"4", b"6"])
def test_a_body_of_another_length_than_declared_never_looks_whole(declared: bytes) -> None:
    seen = ask(sends([(b"content-length", declared)], b"hello"))

    assert not b"".join(seen.writes).endswith(b"hello") or declared == b"6"
    assert seen.is_closed


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nx-evil: 1", b"a\rx-evil: 1", b"\0x-evil", b"\x7fx-evil"])
def test_a_header_cannot_begin_another_one(value: bytes) -> None:
    seen = ask(sends([(b"content-length", b"5"), (b"x-sent", value)], b"hello"))

    assert b"x-evil" not in b"".join(seen.writes)
