"""Bounds the bytes of each body and of all large bodies together; uvicorn does neither."""

from collections import Counter
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicekit.errors import BodyTooLarge, DomainError, Overloaded
from servicekit.http.error_responses import Renderer
from servicekit.http.headers import header
from servicekit.middleware.content_encoding import gunzip, is_gzip

BODY_BYTES_MAX = 64 * 1024
BATCH_BYTES_MAX = 4 * 1024 * 1024
# The limit for all bodies of one large route that are in flight in this process. A parsed body takes several times its
# size: without this limit, the batches that may be in flight at the same time would take gigabytes.
IN_FLIGHT_BODY_BYTES_MAX = 32 * 1024 * 1024


class BodyLimitMiddleware:
    """Refuses a body that is too large: at once where its length is declared, else when the limit is reached.

    `large` maps the templates of the routes that take more than `BODY_BYTES_MAX` to their limits. The requests of such
    a route share the limit of bodies in flight, whatever their path parameters are. The received bytes of a body count
    as in flight until the request is answered; bytes that a slow client has not sent yet do not count.

    A gzip body is decoded here. The limit holds for the compressed bytes and for the decoded ones, and the decoded ones
    count as in flight.
    """

    def __init__(self, app: ASGIApp, *, large: Mapping[str, int], render: Renderer) -> None:
        self._app = app
        self._large = large
        self._render = render
        self._in_flight_bytes = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on with a bounded `receive`."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        template = scope["route_template"]
        bytes_max = self._large.get(template, BODY_BYTES_MAX)
        declared = header(scope, b"content-length")
        try:
            # The HTTP parser has refused a length that is anything but digits.
            if declared is not None and int(declared) > bytes_max:
                raise _too_large(bytes_max)
            gzip = is_gzip(scope)
        except DomainError as refusal:
            await self._render(scope, refusal)(scope, receive, send)
            return
        # A declared length within the bound needs no counting: the HTTP parser ends the body there.
        bounded = _counted(receive, bytes_max) if declared is None else receive
        if gzip:
            bounded = _counted(gunzip(bounded), bytes_max)
        if template in self._large:
            await self._count_in_flight(template, scope, bounded, send)
        elif bounded is receive:
            await self._app(scope, receive, send)
        else:
            await self._serve(scope, bounded, send)

    async def _count_in_flight(self, template: str, scope: Scope, receive: Receive, send: Send) -> None:
        received_bytes = 0

        async def counting_receive() -> Message:
            nonlocal received_bytes
            message = await receive()
            count = len(message.get("body", b""))
            received_bytes += count
            self._in_flight_bytes[template] += count
            if self._in_flight_bytes[template] > IN_FLIGHT_BODY_BYTES_MAX:
                raise Overloaded("too many large requests are in flight")
            return message

        try:
            await self._serve(scope, counting_receive, send)
        finally:
            self._in_flight_bytes[template] -= received_bytes

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application read a body that may be refused on the way.

        The refusal is answered here, whatever the application makes of the exception: a framework that reads the body
        itself turns it into a 400.
        """
        refusal: DomainError | None = None
        has_begun = False

        async def refusing_receive() -> Message:
            nonlocal refusal
            try:
                return await receive()
            except DomainError as error:
                refusal = error
                raise

        async def send_unless_refused(message: Message) -> None:
            nonlocal has_begun
            if refusal is None or has_begun:
                has_begun = True
                await send(message)

        try:
            await self._app(scope, refusing_receive, send_unless_refused)
        except DomainError as error:
            if error is not refusal:
                raise
        if refusal is not None and not has_begun:
            await self._render(scope, refusal)(scope, receive, send)


def _counted(receive: Receive, bytes_max: int) -> Receive:
    received = 0

    async def counted_receive() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > bytes_max:
            raise _too_large(bytes_max)
        return message

    return counted_receive


def _too_large(bytes_max: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {bytes_max} bytes")
