"""Answers that no application makes: to requests that are malformed, too slow, or too many."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from servicekit.errors import DomainError
from servicekit.http.error_responses import ErrorShape, render_as, shape_of
from servicekit.middleware.request_context import request_id_of
from servicekit.protocol.application import HeaderLines, ServedApplication
from servicekit.protocol.single_write import SingleWriteProtocol

_CLOSE = (b"connection", b"close")
_log = logging.getLogger(__name__)


class ErrorAnswer:
    """One error, rendered once for each shape that a path may ask for."""

    def __init__(self, error: DomainError) -> None:
        self.error = error
        self._responses = {shape: render_as(shape, error) for shape in ErrorShape}
        self._heads: dict[ErrorShape, bytes] = {}
        self._default_headers: object = None

    def response(self, path: bytes) -> Response:
        """Return the response in the shape for this raw path. The response is shared: do not change it."""
        return self._responses[shape_of(path)]

    def head(self, path: bytes, default_headers: HeaderLines) -> bytes:
        """Return the status line, the lines of all responses and those of this one. Thousands a second may be refused,
        so it is made anew only with the date.
        """
        if self._default_headers is not default_headers:
            self._heads, self._default_headers = {}, default_headers
        shape = shape_of(path)
        head = self._heads.get(shape)
        if head is None:
            response = self._responses[shape]
            lines = [b"%s: %s\r\n" % line for line in (*default_headers, *response.raw_headers)]
            head = self._heads[shape] = b"".join([STATUS_LINE[response.status_code], *lines])
        return head


class ErrorAnswerProtocol(SingleWriteProtocol):
    """Answers with an error by itself: in the product's shape, with a request id and with what a browser needs."""

    # The headers of the request that is being parsed, once its head is complete; of several lines the last one.
    _header_map: Mapping[bytes, bytes] = MappingProxyType({})

    def _end_with_error(self, answer: ErrorAnswer) -> None:
        """Answer the request that is being parsed, as far as it has come, and close the connection."""
        cycle = self._request_in_flight()
        if cycle is not None and not cycle.more_body:
            # The request in flight is complete: it is answered first, as the last one of this connection.
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        if not self.pipeline and (cycle is None or not cycle.response_started):
            request_id = self._write_error(answer, closes=True)
            _log.info("refused request %s: %s", request_id, answer.error)
        self.transport.close()

    def _write_error(self, answer: ErrorAnswer, *, closes: bool) -> str:
        """Write the answer to the request that is being parsed, and return the id of that request."""
        # The scope is None until the first byte of the first request, against uvicorn's annotation.
        scope = cast("Scope | None", self.scope) or {"headers": ()}
        request_id: str = scope.get("request_id") or request_id_of(scope)
        path = getattr(self, "url", b"").partition(b"?")[0]
        lines = [b"%s: %s\r\n" % line for line in self._own_lines(scope, request_id, closes=closes)]
        body = b"" if scope.get("method") == "HEAD" else answer.response(path).body
        head = answer.head(path, self.server_state.default_headers)
        self.transport.write(b"".join([head, *lines, b"\r\n", body]))
        return request_id

    def _error_app(self, answer: ErrorAnswer, *, closes: bool = True) -> ASGI3Application:
        """Return an application that sends this answer, for a request that waits for earlier requests."""

        async def send_error(scope: Scope, _: Receive, send: Send) -> None:
            request_id = request_id_of(scope)
            response = answer.response(scope["raw_path"])
            headers = [*response.raw_headers, *self._own_lines(scope, request_id, closes=closes)]
            await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
            await send({"type": "http.response.body", "body": response.body})

        return cast("ASGI3Application", send_error)

    def _own_lines(self, scope: Scope, request_id: str, *, closes: bool) -> HeaderLines:
        lines = [(b"x-request-id", request_id.encode())]
        if isinstance(self.app, ServedApplication) and self.app.cors is not None:
            origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
            lines += self.app.cors.lines(origin)
        if closes:
            lines.append(_CLOSE)
        return lines

    def _request_in_flight(self) -> RequestResponseCycle | None:
        """Return the last request with complete headers, unless it is answered."""
        # The cycle is None until the first request, against uvicorn's annotation.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return None if cycle is None or cycle.response_complete else cycle
