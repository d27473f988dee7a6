"""Answers the routes with the highest request rates ahead of the framework.

These routes are declared on an ordinary FastAPI router, so they are documented like any other; this middleware only
avoids the cost of the framework. Measured in one run on one core: an empty FastAPI route answers 6,000 requests/s, the
same response from here 20,000 (docs/decisions/0007-fast-path.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from servicekit.errors import DomainError
from servicekit.http.error_responses import Renderer

FastEndpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

_MARK = "__hot__"


def hot(endpoint: FastEndpoint) -> FastEndpoint:
    """Mark an endpoint for the fast path. It takes only the request, and returns a finished response."""
    setattr(endpoint, _MARK, True)
    return endpoint


class FastPathMiddleware:
    """Serves the marked endpoints of `routers` by the route that NormalizationMiddleware found, with or without
    parameters in its path; everything else goes to the framework.
    """

    def __init__(self, app: ASGIApp, *, routers: Sequence[APIRouter], render: Renderer) -> None:
        self._app = app
        self._render = render
        self._endpoints: dict[tuple[str, str | None], FastEndpoint] = {
            (method, route.path): route.endpoint
            for router in routers
            for route in router.routes
            if isinstance(route, APIRoute) and hasattr(route.endpoint, _MARK)
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a hot route here, anything else below."""
        endpoint = None
        if scope["type"] == "http":
            endpoint = self._endpoints.get((scope["method"], scope["route_template"]))
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except DomainError as error:
            response = self._render(scope, error)
        await response(scope, receive, send)
