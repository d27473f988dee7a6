"""The settings that an application gives to the protocol class that serves it, which has no parameters of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from servicekit.process.request_log import RequestLog
from servicekit.protocol.direct_routes import DirectRoute, RepeatedRoute

# Returns the direct route of a raw target (path and query string) that was answered the long way shortly before.
RepeatedTargets: TypeAlias = Callable[[bytes], RepeatedRoute[Any] | None]
HeaderLines: TypeAlias = Sequence[tuple[bytes, bytes]]
# Called once for a request, with the client's socket address and the request's headers. Returns header lines for the
# response; raises a DomainError when the request is refused.
Admission: TypeAlias = Callable[[tuple[str, int] | None, HeaderLines], HeaderLines]

# It tells caches that another origin may get other headers.
_VARY = (b"vary", b"Origin")

# The end of the path of a direct route that any one segment may follow.
_ANY = b"/*"
_NO_TEMPLATES: Mapping[bytes, str] = MappingProxyType({})


class CorsHeaders:
    """The headers with which a browser lets a page read an answer that the protocol class writes.

    They are the same as those that Starlette's CORSMiddleware adds to an ordinary answer.
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


@dataclass(frozen=True)
class ProtocolAnswers:
    """What the protocol answers by itself, and what it has to know for that."""

    # For every answer: an error of the protocol's own, or one of a direct route.
    cors: CorsHeaders | None = None
    # Shorter ways to routes that the application has as well.
    direct_routes: Sequence[DirectRoute[Any]] = ()
    # The same for a GET whose target many clients repeat, whatever stands in its path.
    repeated_targets: RepeatedTargets | None = None
    # The rate limit, which a layer of the application asks for every other request.
    admit: Admission | None = None


class ServedApplication:
    """The outermost ASGI application, and what its protocol answers without it."""

    def __init__(
        self, app: ASGIApp, *, log: RequestLog, answers: ProtocolAnswers, templates: Mapping[bytes, str] = _NO_TEMPLATES
    ) -> None:
        """`templates` are the declared paths of the direct routes, by the paths that those have."""
        self._app = app
        self.log = log
        self.templates = templates
        self.cors = answers.cors
        self.admit = answers.admit
        self.repeated_targets = answers.repeated_targets
        self.direct_routes = {
            (route.method, route.path): route for route in answers.direct_routes if not route.path.endswith(_ANY)
        }
        # By the path without its last segment.
        self.direct_parents = {
            (route.method, route.path.removesuffix(_ANY)): route
            for route in answers.direct_routes
            if route.path.endswith(_ANY)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        await self._app(scope, receive, send)
