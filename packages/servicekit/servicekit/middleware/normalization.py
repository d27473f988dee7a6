"""The rules of all routes: matching on the raw path, HEAD for every GET, OPTIONS, `Allow`, no unknown parameter."""

from http import HTTPStatus

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicekit.errors import Invalid
from servicekit.http.error_responses import Renderer
from servicekit.http.paths import route_path
from servicekit.http.query_parameters import check_query
from servicekit.middleware.route_table import DeclaredPath, RouteTable

# In the scope of a HEAD, which reaches a route as a GET: one whose body takes long may leave it out.
IS_HEAD = "is_head"
# No route has this path: the framework answers it with its 404.
_NOWHERE = "//"


class NormalizationMiddleware:
    """Matches the request with a declared route and rewrites it before the layers below see it.

    It sets in the scope `route_template` (None for a path that is not declared), `path_params`, and, for a method that
    the path does not have, `allowed_methods`. It copies the scope only when the path has to change.
    """

    def __init__(self, app: ASGIApp, *, routes: RouteTable, render: Renderer) -> None:
        self._app = app
        self._routes = routes
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request that no route accepts; rewrite any other request and pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = route_path(scope)
        is_head = scope["method"] == "HEAD"
        match = None if path is None else self._routes.find(path, "GET" if is_head else scope["method"])
        # Before the scope is copied: the outermost layer, which counts the requests of each route, has the original.
        scope["route_template"] = None if match is None else match.path.template
        if path != scope["path"]:
            scope = {**scope, "path": _NOWHERE if path is None else path}
        if is_head:
            scope = {**scope, "method": "GET", IS_HEAD: True}
            send = _without_body(send)
        if match is not None:
            scope["path_params"] = match.parameters
            response = self._answer(scope, match.path)
            if response is not None:
                await response(scope, receive, send)
                return
            if not match.path.has(scope["method"]):
                scope["allowed_methods"] = match.path.methods
        await self._app(scope, receive, send)

    def _answer(self, scope: Scope, path: DeclaredPath) -> Response | None:
        """Return the response to OPTIONS, or a refusal of the query string; None for every other request."""
        declared = path.query_parameters.get(scope["method"])
        if declared is None:
            return _allow(path) if scope["method"] == "OPTIONS" else None
        if scope["query_string"]:
            try:
                check_query(scope["query_string"], declared)
            except Invalid as refusal:
                return self._render(scope, refusal)
        return None


def _allow(path: DeclaredPath) -> Response:
    return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": ", ".join(path.methods)})


def _without_body(send: Send) -> Send:
    async def send_headers_only(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_headers_only
