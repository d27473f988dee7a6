"""What an application tells the protocol class that serves it: the protocol class has no parameters of its own."""

from collections.abc import Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

HeaderLines = Sequence[tuple[bytes, bytes]]
# To a cache: another origin may get other headers.
_VARY = (b"vary", b"Origin")


class CorsHeaders:
    """The headers with which a browser lets a page read an answer that the application has not made.

    They are those that Starlette's CORSMiddleware adds to an ordinary answer.
    """

    def __init__(self, origins: Sequence[str], exposed_headers: Sequence[str]) -> None:
        """`origins` may hold `*`, which allows every origin."""
        self._origins = frozenset(origin.encode() for origin in origins)
        self._exposed = (b"access-control-expose-headers", ", ".join(exposed_headers).encode())

    def lines(self, origin: bytes | None) -> HeaderLines:
        """The header lines of an answer to a request with this `Origin` header, or without one."""
        if origin is None:
            return (_VARY,)
        if b"*" in self._origins:
            return ((b"access-control-allow-origin", b"*"), self._exposed, _VARY)
        if origin in self._origins:
            return ((b"access-control-allow-origin", origin), self._exposed, _VARY)
        return (self._exposed, _VARY)


class ServedApplication:
    """The outermost ASGI application, with what its protocol answers without it."""

    def __init__(self, app: ASGIApp, *, cors: CorsHeaders | None = None) -> None:
        self._app = app
        self.cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        await self._app(scope, receive, send)
