"""The open-loop client counts the time from the moment at which a request is due, and accepts no refusal."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from load.open_loop import open_loop
from local.ports import free_port

EVENT = '{"number":{number}}'


@contextmanager
def server(status: str, *, frozen_seconds: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
    """Answers each request on any connection; the first one only after a pause, in which it does nothing else."""
    received: list[bytes] = []
    loop, port = asyncio.new_event_loop(), free_port()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b"":
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            received.append(head + await reader.readexactly(length))
            if len(received) == 1:
                threading.Event().wait(frozen_seconds)
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())

    async def serve() -> None:
        await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)

    loop.set_exception_handler(lambda *_: None)  # connections end without a request
    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/Log/auth", received
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_rate_is_kept_and_each_request_is_one_event() -> None:
    with server("200 OK") as (url, received):
        seen = open_loop(url, EVENT, rate=400, seconds=1, headers=["X-API-Key: secret"])
    assert seen.requests == len(received)
    assert 300 < seen.requests < 500
    assert 0 < seen.p50 <= seen.p99
    assert seen.processor > 0
    assert received[0].endswith(b'\r\n\r\n{"number":123}')
    assert b"X-API-Key: secret\r\n" in received[0]


def test_requests_that_are_due_while_the_server_is_frozen_wait_from_then_on() -> None:
    with server("200 OK", frozen_seconds=0.5) as (url, _):
        seen = open_loop(url, EVENT, rate=400, seconds=1)
    assert seen.p99 > 400
    assert seen.p50 > 10


def test_a_refused_request_ends_the_run() -> None:
    with server("503 Service Unavailable") as (url, _), pytest.raises(ValueError, match="was refused"):
        open_loop(url, EVENT, rate=400, seconds=1)
