"""Writes a whole answer with one system call.

uvicorn writes the head of an answer and its body separately, and uvloop passes each write to the kernel at once. That
is two system calls and two packets, and the client wakes up twice (docs/decisions/0012-one-write-one-timer.md).
"""

from functools import partial
from typing import cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override
from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

_LINE_END = b"\r\n"
_PLAIN = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))


class SingleWriteProtocol(HttpToolsProtocol):
    """Joins the head of an answer and its body when the body comes in one piece; uvicorn writes every other answer."""

    @override
    def on_message_begin(self) -> None:
        """As uvicorn's, but with a smaller scope: a request that is answered directly needs only the headers."""
        self.url = b""
        self.expect_100_continue = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.scope = cast("HTTPScope", {"headers": self.headers})

    @override
    def on_headers_complete(self) -> None:
        url, headers, expects, known = self.url, self.headers, self.expect_100_continue, self.scope
        super().on_message_begin()  # which makes the whole scope
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope = cast("HTTPScope", {**self.scope, **known})
        super().on_headers_complete()

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        whole = partial(_send_in_one_write, cycle, cast("ASGIApp", app))
        super()._start_asgi_task(cycle, cast("ASGI3Application", whole))


async def _send_in_one_write(
    cycle: RequestResponseCycle, app: ASGIApp, scope: Scope, receive: Receive, send: Send
) -> None:
    start: Message | None = None

    async def send_joined(message: Message) -> None:
        nonlocal start
        if start is None and message["type"] == "http.response.start":
            start = message
            return
        if start is not None:
            begun, start = start, None
            head = _encode_head(cycle, begun, message)
            if head is not None:
                _write(cycle, head + message["body"])
                return
            await send(begun)
        await send(message)

    await app(scope, receive, send_joined)


def _encode_head(cycle: RequestResponseCycle, start: Message, message: Message) -> bytes | None:
    """Return the head of a complete answer to a connected client; None where uvicorn must write the answer."""
    body = message.get("body", b"")
    is_last = not cycle.keep_alive or cycle.disconnected
    if message.get("more_body", False) or cycle.scope["method"] == "HEAD" or is_last or cycle.flow.write_paused:
        return None
    headers = [*cycle.default_headers, *start["headers"]]
    lines = [STATUS_LINE[start["status"]]]
    is_declared = False
    for name, value in headers:
        if name == b"connection":
            return None
        if name == b"content-length":
            is_declared = int(value) == len(body)
        lines.append(name + b": " + value + _LINE_END)
    head = b"".join([*lines, _LINE_END])
    # uvicorn refuses control characters in a header; a line end would begin another header, or another answer.
    lines_end_well = head.count(b"\n") == head.count(b"\r") == len(headers) + 2 and not head.translate(None, _PLAIN)
    return head if is_declared and lines_end_well else None


def _write(cycle: RequestResponseCycle, answer: bytes) -> None:
    """Write the answer, and end the request as `RequestResponseCycle.send` does."""
    cycle.transport.write(answer)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    cycle.on_response()
