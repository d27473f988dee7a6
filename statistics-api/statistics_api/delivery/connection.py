"""One kept connection of an HTTP/1.1 client: it writes a request and reads its response, one at a time."""

import asyncio
import select
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import httptools
import httpx2


class Connection(asyncio.Protocol):
    """A connection that is reusable until it is lost, or until it receives anything but one response per request."""

    def __init__(self, response_bytes_max: int, on_lost: "Callable[[Connection], object]") -> None:
        self._response_bytes_max = response_bytes_max
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._file_descriptor = -1
        # The state of the current exchange.
        self._response: asyncio.Future[httpx2.Response] | None = None
        self._message = _Message(has_body=True)
        self._received_bytes = 0
        self.is_reusable = False

    async def exchange(self, request: bytes, *, has_body: bool, seconds_max: float | None) -> httpx2.Response:
        """Send a request and read its response. A cancelled exchange closes the connection.

        Raises:
            ConnectTimeout: no time was left; nothing was sent.
            ReadError: the connection was lost; the server may have received the request.
            ReadTimeout: the response did not arrive in time.
            RemoteProtocolError: this client does not understand the response.
        """
        assert self._transport is not None and self._response is None  # noqa: PT018, S101 - the pool sees to it
        loop = asyncio.get_running_loop()
        timer = None
        is_whole = False
        try:
            if seconds_max is not None:
                if seconds_max <= 0:
                    raise httpx2.ConnectTimeout("the deadline passed before anything was sent")
                timer = loop.call_later(seconds_max, self._fail, httpx2.ReadTimeout("no response before the deadline"))
            self._response = loop.create_future()
            self._message = _Message(has_body=has_body)
            self._received_bytes = 0
            self._transport.write(request)
            response = await self._response
            is_whole = True
            return response
        finally:
            self._response = None
            if timer is not None:
                timer.cancel()
            # If the response came before the request was written completely, the rest would precede the next request.
            if not is_whole or self._transport.get_write_buffer_size() > 0 or not self.is_reusable:
                self.abort()

    def is_quiet(self) -> bool:
        """Whether a request may be sent: the server has neither closed the connection nor sent anything unasked.

        It polls the socket, because the event loop may not have read it yet.
        """
        if not self.is_reusable or self._file_descriptor < 0:
            return False
        poll = select.poll()
        poll.register(self._file_descriptor, select.POLLIN)
        return not poll.poll(0)

    def abort(self) -> None:
        """Close the connection at once, without reading further data."""
        self.is_reusable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop when the connection is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport has the same methods
        socket = transport.get_extra_info("socket")
        if socket is not None:  # otherwise the connection is lost already
            self._file_descriptor = socket.fileno()
            self.is_reusable = True

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with data from the server."""
        if self._response is None or self._response.done():
            self.abort()  # no request is waiting for it
            return
        self._received_bytes += len(data)
        if self._received_bytes > self._response_bytes_max:
            self._fail(httpx2.RemoteProtocolError(f"the response is larger than {self._response_bytes_max} bytes"))
            return
        self._message.feed(data)
        if self._message.error is not None:
            self._fail(httpx2.RemoteProtocolError(self._message.error))
        elif self._message.is_complete:
            self.is_reusable = self.is_reusable and self._message.keeps_connection
            self._response.set_result(self._message.response())

    def eof_received(self) -> None:
        """Called when the server has closed its side; the event loop then closes the connection."""
        self.is_reusable = False

    def connection_lost(self, exc: Exception | None) -> None:
        """Called when the connection is closed, by either side."""
        self.is_reusable = False
        self._file_descriptor = -1
        self._fail(httpx2.ReadError(str(exc) if exc else "the server closed the connection"))
        self._on_lost(self)

    def _fail(self, error: httpx2.TransportError) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)


class _Message:
    """The response that is being read; the HTTP parser calls its `on_` methods."""

    def __init__(self, *, has_body: bool) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._has_body = has_body
        self._has_head = False
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.is_complete = False
        self.keeps_connection = False
        self.error: str | None = None

    def feed(self, data: bytes) -> None:
        """Parse more data; set `error` if the client does not understand the response."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.keeps_connection = False
            if not self.is_complete:  # otherwise the response is valid, and only the data after it is not
                self.error = f"no valid HTTP response: {error}"
        if self._has_head and not self._has_body and not self.is_complete:
            # The response to HEAD declares the length of a body that is not sent. The parser would wait for it.
            self.is_complete = True
        if self.is_complete and any(
            name.lower() == b"content-encoding" and value.lower() != b"identity" for name, value in self._headers
        ):
            self.error = "the response has a content coding, and none was asked for"

    def response(self) -> httpx2.Response:
        """Return the complete response. Call it once."""
        content = b"".join(self._body)
        # This object and the parser are a reference cycle: the body would stay until garbage collection, 3 MB a batch.
        self._body.clear()
        return httpx2.Response(self._status, headers=self._headers, content=content)

    def on_message_begin(self) -> None:
        """Called for the response, for each response of status 1xx before it, and for an unexpected response."""
        if self.is_complete:
            self.keeps_connection = False
        else:
            self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called with a header, or with a trailer field, which is ignored."""
        if not self._has_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Called at the end of the head."""
        status = self._parser.get_status_code()
        if not self.is_complete and status >= HTTPStatus.OK:
            self._has_head = True
            self._status = status

    def on_body(self, body: bytes) -> None:
        """Called with a piece of the body."""
        if not self.is_complete:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """Called at the end of the response, and of each response of status 1xx."""
        if self._has_head and not self.is_complete:
            self.is_complete = True
            self.keeps_connection = self._parser.should_keep_alive()
