"""What a direct route is: an ordinary request, read without side effects, and the bytes that answer it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from starlette.responses import Response
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Ordinary = TypeVar("Ordinary")


@dataclass(slots=True, frozen=True)
class DirectResponse:
    """A finished response, but for the lines that differ from one request to the next."""

    status: int
    # The status line and the response's own headers.
    head: bytes
    body: bytes

    @classmethod
    def of(cls, response: Response) -> "DirectResponse":
        """The same as this response; a route makes one that is always the same once."""
        lines = b"".join(b"%s: %s\r\n" % line for line in response.raw_headers)
        return cls(response.status_code, STATUS_LINE[response.status_code] + lines, bytes(response.body))


class Pending(NamedTuple):
    """A response that is made of an outcome, once that is there."""

    outcome: "asyncio.Future[Any]"
    # Called with the outcome; may raise a DomainError.
    respond: Callable[[Any], DirectResponse]


class DirectRoute(Protocol[Ordinary]):
    """A second way to the answer of a route, for its ordinary requests only. Both ways must give the same answer.

    It gets no request that needs a layer which the direct lane leaves out (servicekit.protocol.direct lists them).
    Headers have lower-case names, each of them came once. The payload is the body of a POST, at most `BODY_BYTES_MAX`,
    and the query string of a GET.
    """

    method: bytes
    # The raw path, without a trailing slash and without parameters.
    path: bytes

    def read(self, headers: Mapping[bytes, bytes], payload: bytes) -> Ordinary | None:
        """What an ordinary request asks for; None leaves the request to the framework, which explains what is wrong.

        Must change nothing, because the request may be read again, or refused by a rate limit.
        """

    def answer(self, ordinary: Ordinary, request_id: str, state: Mapping[str, Any]) -> DirectResponse | Pending:
        """Begin to answer. `state` is what the lifespan yielded.

        Raises:
            DomainError: rendered as anywhere else.
        """
