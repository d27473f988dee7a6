"""Direct routes: they read an ordinary request without side effects, and return the bytes of its response."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Ordinary = TypeVar("Ordinary")


class DirectResponse(NamedTuple):
    """A finished response, without the header lines that differ between requests."""

    status: int
    # The status line and the response's own headers.
    head: bytes
    body: bytes

    @classmethod
    def of(cls, response: Response) -> "DirectResponse":
        """Convert a response. A route converts a constant response only once."""
        lines = b"".join(b"%s: %s\r\n" % line for line in response.raw_headers)
        return cls(response.status_code, STATUS_LINE[response.status_code] + lines, bytes(response.body))


class ResponseTemplate(NamedTuple):
    """A response whose body is replaced, with its length, for other requests."""

    response: DirectResponse
    # The parts of its head around the length.
    before: bytes
    after: bytes

    @classmethod
    def of(cls, response: Response) -> "ResponseTemplate":
        """Return the template that is made from one of the responses."""
        found = DirectResponse.of(response)
        before, name, rest = found.head.partition(b"content-length: ")
        return cls(found, before + name, rest.removeprefix(b"%d" % len(found.body)))

    def with_body(self, body: bytes) -> DirectResponse:
        """Return the response with this body."""
        return DirectResponse(self.response.status, b"%b%d%b" % (self.before, len(body), self.after), body)


class Pending(NamedTuple):
    """A response that is made from an outcome when the outcome is known."""

    outcome: "asyncio.Future[Any]"
    # Called with the outcome, which is done; may raise its DomainError, or another one, or wait for another outcome.
    respond: "Callable[[asyncio.Future[Any]], DirectResponse | Pending]"


class DirectRoute(Protocol[Ordinary]):
    """Answers the ordinary requests of a route. Its responses must equal those of the route itself.

    It gets no request that needs a middleware (servicekit.protocol.direct lists what is declined). Headers have
    lower-case names, and each of them came once. The payload is the body of a POST, at most `BODY_BYTES_MAX`, or the
    query string of a GET.
    """

    method: bytes
    # The raw path, without a trailing slash. A path that ends in `/*` is that of any one segment in place of the star.
    path: bytes

    def read(
        self, headers: Mapping[bytes, bytes], payload: bytes, state: Mapping[str, Any], segment: str = ""
    ) -> Ordinary | None:
        """Return the content of an ordinary request; None leaves the request to the framework, which explains errors.

        It must change nothing, because the request may be read again, or refused by a rate limit. `state` is the value
        that the lifespan yielded. `segment` stands in place of the star; it is in ASCII, and has nothing to decode.
        """

    def answer(self, ordinary: Ordinary, request_id: str, state: Mapping[str, Any]) -> DirectResponse | Pending:
        """Begin to answer. `state` is that of `read`.

        Raises:
            DomainError: it is rendered as for any other route.
        """


class RepeatedRoute(DirectRoute[Ordinary], Protocol[Ordinary]):
    """A direct route of one target alone, which was found by the long way before."""

    # The declared path that the target has.
    template: str
