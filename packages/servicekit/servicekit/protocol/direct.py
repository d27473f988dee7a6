"""Answers the ordinary requests of direct routes from the parser's callback: no task, no scope, no Request.

The task, the middleware and the framework take most of the time of a small request. A request that is not ordinary is
declined: the middleware and the framework serve it as usual (docs/decisions/0018-direct-routes.md). Declined are:

* any method but the route's own, HEAD included; a path with a trailing slash; a POST with a query string;
* HTTP/1.0, `Connection: close`, an upgrade, `Expect`, `Content-Encoding`, a chunked body or one above the limit;
* `Origin` (CORS is a layer's work), and any header that came twice;
* a request behind another that is in flight on its connection (pipelining);
* everything while the process drains or is overloaded;
* and what the route itself declines.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, cast

from typing_extensions import override
from uuid_utils import uuid7
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from servicekit.concurrency.concurrency_limit import concurrency_limit
from servicekit.errors import DomainError
from servicekit.http.error_responses import render_as, shape_of
from servicekit.middleware.body_limits import BODY_BYTES_MAX
from servicekit.middleware.request_context import request_id_of
from servicekit.process import drain
from servicekit.protocol.application import HeaderLines, ServedApplication
from servicekit.protocol.direct_routes import DirectResponse, DirectRoute, Pending
from servicekit.protocol.error_answers import ErrorAnswer
from servicekit.protocol.load_shedding import LoadSheddingProtocol
from servicekit.tracing.contexts import TRACEPARENT, TRACESTATE, request_contexts

_DECLINED_HEADERS = frozenset({b"content-encoding", b"expect", b"origin", b"transfer-encoding", b"upgrade"})
_NO_BYTES = b""

_log = logging.getLogger(__name__)


class _NoEvent:
    """Replaces the event by which uvicorn wakes the task of a cycle: a direct request has no task."""

    def set(self) -> None:
        pass


class _DirectCycle:
    """Stands in for uvicorn's cycle while a direct request is in flight.

    uvicorn reads it for a pipelined request, at shutdown, and when the connection is lost.
    """

    __slots__ = (
        "begun",
        "disconnected",
        "keep_alive",
        "path",
        "request_id",
        "respond",
        "response_complete",
        "route",
        "template",
    )
    more_body = False
    response_started = False
    message_event = _NoEvent()

    def __init__(
        self,
        route: DirectRoute[Any],
        template: str,
        path: str,
        request_id: str,
        begun: float,
        respond: "Callable[[asyncio.Future[Any]], DirectResponse | Pending]",
    ) -> None:
        self.route = route
        self.template = template
        self.path = path
        self.request_id = request_id
        self.begun = begun
        self.respond = respond
        self.keep_alive = True
        self.disconnected = False
        self.response_complete = False


class DirectProtocol(LoadSheddingProtocol):
    """Answers ordinary requests of direct routes; its base classes handle all other requests."""

    # Set between the head of an ordinary request and its end.
    _route: DirectRoute[Any] | None = None
    _direct_cycle: _DirectCycle
    _payload = _NO_BYTES
    # The declared path of the route, the path, and what stands in it in place of the route's star.
    _template = ""
    _path = ""
    _segment = ""
    _begun = 0.0
    _default_headers: list[tuple[bytes, bytes]] | None = None
    _default_lines = _NO_BYTES
    # What the rate limit adds to the response of the request that it admitted last: there is one at a time.
    _admission_lines: HeaderLines = ()

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        served = self.app if isinstance(self.app, ServedApplication) else None
        self._has_direct_routes = served is not None and bool(served.direct_routes or served.repeated_targets)
        self._served = cast("ServedApplication", served)

    @override
    def on_headers_complete(self) -> None:
        # First, because a request that will be refused should cost little.
        self._route = None if concurrency_limit.is_exceeded() else self._find_route()
        if self._route is None:
            super().on_headers_complete()
        else:
            self._begun = time.perf_counter()

    @override
    def on_body(self, body: bytes) -> None:
        if self._route is None:
            super().on_body(body)
        else:
            self._payload += body

    @override
    def on_message_complete(self) -> None:
        route = self._route
        if route is None:
            super().on_message_complete()
            return
        try:
            ordinary = route.read(self._header_map, self._payload, self.app_state, self._segment)
        except Exception:  # noqa: BLE001 - the long way is the answer to every question here
            _log.exception("a direct route failed to read a request")
            ordinary = None
        if ordinary is None:
            self._take_the_long_way()
            super().on_message_complete()
        else:
            self._route = None
            self._payload = _NO_BYTES
            self._request_deadline = None
            self._answer(route, ordinary)

    @override
    def shutdown(self) -> None:
        if self._route is not None:
            self._take_the_long_way()  # then uvicorn has a cycle, and waits for the rest of the request
        super().shutdown()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._route is not None:
            request_id = str(self.scope.get("request_id") or self._request_id())
            self._log_request(self._route, self._template, self._path, request_id, 0, self._begun)
            self._route = None
        super().connection_lost(exc)

    @override
    def _end_with_error(self, answer: ErrorAnswer) -> None:
        if self._route is not None:
            # The answer has the same id as the log line, which is written when the connection is lost.
            cast("dict[str, Any]", self.scope)["request_id"] = self._request_id()
        super()._end_with_error(answer)

    def _find_route(self) -> DirectRoute[Any] | None:
        if not self._has_direct_routes or self.app is not self._served:  # its head has a problem
            return None
        parser = self.parser
        path, mark, query = self.url.partition(b"?")
        method = parser.get_method()
        route = self._served.direct_routes.get((method, path))
        segment = _NO_BYTES
        if route is None and method == b"GET" and self._served.repeated_targets is not None:
            repeated = self._served.repeated_targets(self.url)
            if repeated is not None:
                route, self._template = repeated, repeated.template
        elif route is not None:
            self._template = self._served.templates[route.path]
        if route is None:
            parent, _, segment = path.rpartition(b"/")
            route = self._served.direct_parents.get((method, parent))
            if route is None or not segment or b"%" in segment or not segment.isascii():
                return None
            self._template = self._served.templates[route.path]
        self._path, self._segment = path.decode(), segment.decode()
        headers = self._header_map
        length = headers.get(b"content-length")
        if method == b"GET":
            self._payload = query
            has_payload = length is None
        else:
            self._payload = _NO_BYTES
            has_payload = length is not None and int(length) <= BODY_BYTES_MAX and not mark
        is_ordinary = (
            has_payload
            and len(headers) == len(self.headers)
            and _DECLINED_HEADERS.isdisjoint(headers)
            and parser.get_http_version() == "1.1"
            and parser.should_keep_alive()
            and self._request_in_flight() is None
            and not self.flow.write_paused
            and not drain.is_draining()
        )
        return route if is_ordinary else None

    def _take_the_long_way(self) -> None:
        payload, self._payload, self._route = self._payload, _NO_BYTES, None
        super().on_headers_complete()
        if payload and self.parser.get_method() != b"GET":
            super().on_body(payload)

    def _answer(self, route: DirectRoute[Any], ordinary: object) -> None:
        request_id = self._request_id()
        if request_contexts.is_on:
            headers = self._header_map
            request_contexts.begin(request_id, headers.get(TRACEPARENT), headers.get(TRACESTATE))
        try:
            if self._served.admit is not None:
                # The default lines are made anew, with those of this request; a refusal has its own.
                self._default_headers, self._admission_lines = None, ()
                self._admission_lines = self._served.admit(self.client, self.headers)
            answer = route.answer(ordinary, request_id, self.app_state)
        except Exception as error:  # noqa: BLE001 - as in RequestContextMiddleware: a bug becomes a plain 500
            answer = _error_response(route, error, request_id)
        if isinstance(answer, Pending):
            self._direct_cycle = _DirectCycle(
                route, self._template, self._path, request_id, self._begun, answer.respond
            )
            self.cycle = cast("RequestResponseCycle", self._direct_cycle)
            concurrency_limit.started += 1
            answer.outcome.add_done_callback(self._on_outcome)
        else:
            self._write_response(answer, request_id, closes=drain.is_draining())
            self._log_request(route, self._template, self._path, request_id, answer.status, self._begun)
            self.on_response_complete()

    def _on_outcome(self, outcome: "asyncio.Future[Any]") -> None:
        cycle = self._direct_cycle
        try:
            response = cycle.respond(outcome)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - as above
            response = _error_response(cycle.route, error, cycle.request_id)
        if isinstance(response, Pending):
            cycle.respond = response.respond
            response.outcome.add_done_callback(self._on_outcome)
            return
        concurrency_limit.started -= 1
        cycle.response_complete = True
        if not cycle.disconnected:
            closes = not cycle.keep_alive or drain.is_draining()
            self._write_response(response, cycle.request_id, closes=closes)
        self._log_request(cycle.route, cycle.template, cycle.path, cycle.request_id, response.status, cycle.begun)
        self.on_response_complete()

    def _write_response(self, response: DirectResponse, request_id: str, *, closes: bool) -> None:
        defaults = self.server_state.default_headers
        if self._default_headers is not defaults:  # uvicorn makes new ones once a second, with the date
            cors_lines = () if self._served.cors is None else self._served.cors.lines(None)
            lines = [*defaults, *cors_lines, *self._admission_lines]
            self._default_headers = defaults
            self._default_lines = b"".join(b"%s: %s\r\n" % line for line in lines)
        self.transport.write(
            b"%s%sx-request-id: %s\r\n%s\r\n%s"
            % (
                response.head,
                self._default_lines,
                request_id.encode(),
                b"connection: close\r\n" if closes else b"",
                response.body,
            )
        )
        if closes:
            self.transport.close()

    def _request_id(self) -> str:
        sent = self._header_map.get(b"x-request-id")
        return str(uuid7()) if sent is None else request_id_of({"headers": [(b"x-request-id", sent)]})

    def _log_request(
        self, route: DirectRoute[Any], template: str, path: str, request_id: str, status: int, begun: float
    ) -> None:
        seconds = time.perf_counter() - begun
        if request_contexts.is_on:
            request_contexts.end(request_id)
        self._served.log.write(route.method.decode(), path, template, status, seconds, request_id, {})


def _error_response(route: DirectRoute[Any], error: BaseException, request_id: str) -> DirectResponse:
    if isinstance(error, DomainError):
        known = error
    else:
        known = None
        _log.error("unhandled error, request %s", request_id, exc_info=error)
    return DirectResponse.of(render_as(shape_of(route.path), known))
