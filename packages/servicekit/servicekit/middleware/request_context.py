"""The outermost middleware: the request id, one log line a request, and the last exception handler.

It is outside of the framework on purpose: when an exception reaches uvicorn, uvicorn closes the keep-alive connection,
and the next request on that connection fails although nothing is wrong with it.
"""

import logging
import re
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from servicekit.http.error_responses import Renderer
from servicekit.http.headers import header
from servicekit.middleware.logged_paths import LoggedPath
from servicekit.process import drain
from servicekit.process.request_log import RequestLog
from servicekit.tracing.contexts import TRACEPARENT, TRACESTATE, request_contexts

# What may stand unescaped in a log line and in a header. Any other id is replaced by a new one.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_log = logging.getLogger(__name__)


# The template of the route that has the path of a request, or "".
RouteOf: TypeAlias = Callable[[Scope], str]
# The lines that let a page of another origin read a response, for the value of `Origin`.
CorsLines: TypeAlias = Callable[[bytes | None], Sequence[tuple[bytes, bytes]]]


class RequestContextMiddleware:
    """Wraps a whole service. Its only own response is the plain 500: `render` makes its body, and `cors_lines` the
    headers that the CORS middleware adds to all other responses. `logged_path` says what of a path is logged, and
    `route_of` under which route the request is counted.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        log: RequestLog,
        render: Renderer,
        cors_lines: CorsLines = lambda _: (),
        logged_path: LoggedPath = lambda scope: str(scope["path"]),
        route_of: RouteOf = lambda _: "",
    ) -> None:
        self._app = app
        self._log = log
        self._render = render
        self._cors_lines = cors_lines
        self._logged_path = logged_path
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; never raises."""
        if scope["type"] != "http":
            try:
                await self._app(scope, receive, send)
            finally:
                self._log.flush()  # the lifespan of the service ends here: nothing would write the last lines later
            return
        begun = time.perf_counter()
        request_id = request_id_of(scope)
        scope["request_id"] = request_id
        fields: dict[str, object] = {}
        scope["log_fields"] = fields
        status = 0
        if request_contexts.is_on:
            _begin_context(scope, request_id)

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
                if drain.is_draining():  # the next request of this client belongs on another instance
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # the client has disconnected; the line below logs status 0
        except Exception:  # noqa: BLE001 - the one place: a bug becomes a plain 500 with its trace in the log
            _log.exception("unhandled error, request %s", request_id)
            if status == 0:
                response = self._render(scope, None)
                origin = header(scope, b"origin")
                response.raw_headers += self._cors_lines(None if origin is None else origin.encode("latin-1"))
                await response(scope, receive, send_with_id)
        finally:
            if request_contexts.is_on:
                request_contexts.end(request_id)
            path, route = self._logged_path(scope), self._route_of(scope)
            self._log.write(scope["method"], path, route, status, time.perf_counter() - begun, request_id, fields)


def request_id_of(scope: Scope) -> str:
    """Return the client's id for this request if it is safe in a log line, or else a new id."""
    sent = header(scope, b"x-request-id")
    return sent if sent is not None and _REQUEST_ID.fullmatch(sent) else str(uuid7())


def _begin_context(scope: Scope, request_id: str) -> None:
    sent = [value for name, value in scope["headers"] if name == TRACEPARENT]
    states = [value for name, value in scope["headers"] if name == TRACESTATE]
    [only] = sent if len(sent) == 1 else [None]  # of two, nobody knows which is meant
    request_contexts.begin(request_id, only, b",".join(states))
