"""Optional limits on the requests of one API key, and of one client address."""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from limits import RateLimitItem
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from servicekit.errors import TooManyRequests
from servicekit.http.error_responses import Renderer
from servicekit.http.headers import headers
from servicekit.http.paths import HEALTH_PATHS, route_path
from servicekit.protocol.application import HeaderLines
from statistics_api.access.key_limits import LimitedKey, sent_key
from statistics_api.limiters import LocalLimiter, SharedLimiter

Network = IPv4Network | IPv6Network
# Which limit refused a request, in the metrics.
CLIENT_LIMIT, KEY_LIMIT = "client_limit", "key_limit"
# One customer of a provider usually holds a whole /64, and could otherwise use a new address for every request.
_IPV6_PREFIX = 64
# An address as a proxy may write it: quoted, with a port (Azure's gateway), an IPv6 address in brackets, with a zone.
_FORWARDED = re.compile(
    r'"?(?:\[(?P<bracketed>[0-9a-fA-F:.]+)(?:%[^\]]*)?\](?::\d+)?|(?P<v4>[\d.]+):\d+|(?P<bare>[0-9a-fA-F:.]+)(?:%.*)?)"?',
    re.ASCII,
)


class RateLimit:
    """The limits of a process, which the direct routes and the middleware share.

    Each client address has one if there is a `rate`, and each API key if it has one of its own.
    """

    def __init__(
        self,
        rate: RateLimitItem | None,
        trusted_proxies: Sequence[Network],
        shared: SharedLimiter | None = None,
        on_refusal: Callable[[str], None] = lambda _: None,
    ) -> None:
        """With `shared`, only the middleware may ask: the store's answer takes longer than a parser's callback may.

        `on_refusal` is told CLIENT_LIMIT or KEY_LIMIT with each refusal.
        """
        self._on_refusal = on_refusal
        self._rate = rate
        self._trusted_proxies = trusted_proxies
        self._local = LocalLimiter()
        self._shared = shared

    @property
    def rate(self) -> str | None:
        """What each client address may do, such as "600 per 1 minute"; None without a limit."""
        return None if self._rate is None else str(self._rate)

    @property
    def is_direct(self) -> bool:
        """Whether the direct routes may ask: other processes do not count the requests of the same addresses."""
        return self._rate is None or self._shared is None

    def admit(self, client: tuple[str, int] | None, lines: HeaderLines) -> HeaderLines:
        """Count one request in this process, with its socket address and its header lines.

        Returns the header lines that tell the client where it stands.

        Raises:
            TooManyRequests: the client sends more requests than the rate allows.
        """
        if self._rate is None:
            return ()
        try:
            return self._local.hit(self._subject(client, lines), self._rate).header_lines()
        except TooManyRequests:
            self._on_refusal(CLIENT_LIMIT)
            raise

    async def admit_shared(self, client: tuple[str, int] | None, lines: HeaderLines) -> HeaderLines:
        """Do the same in the store that all processes share, if there is one."""
        if self._rate is None:
            return ()
        return await self._hit(self._subject(client, lines), self._rate, CLIENT_LIMIT)

    async def admit_key(self, key: LimitedKey) -> HeaderLines:
        """Count one request with an API key in the same way. Raises TooManyRequests."""
        return await self._hit(f"key:{key.key_id}", key.rate, KEY_LIMIT)

    @property
    def is_degraded(self) -> bool:
        """Whether this process counts by itself although there is a store that all processes share."""
        return self._shared is not None and not self._shared.is_in_use()

    async def _hit(self, subject: str, rate: RateLimitItem, limit: str) -> HeaderLines:
        try:
            allowed = self._local.hit(subject, rate) if self._shared is None else await self._shared.hit(subject, rate)
        except TooManyRequests:
            self._on_refusal(limit)
            raise
        return allowed.header_lines()

    async def close(self) -> None:
        """Close the connections to the store."""
        if self._shared is not None:
            await self._shared.close()

    def _subject(self, client: tuple[str, int] | None, lines: HeaderLines) -> str:
        # The prefix keeps an address apart from the subjects of other limits.
        return "client:" + client_network({"client": client, "headers": lines}, self._trusted_proxies)


class RateLimitMiddleware:
    """Refuses with 429 the requests beyond a rate, and tells the client with each response where it stands.

    The limit of an API key comes first: a request that it refuses is not counted for the client's address, which others
    may have, too. A key that is not remembered comes second, because the database is asked for it: whoever invents keys
    must not be able to do that more often than the address may.
    """

    def __init__(self, app: ASGIApp, *, limit: RateLimit, render: Renderer) -> None:
        self._app = app
        self._limit = limit
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or route_path(scope) in HEALTH_PATHS:
            await self._app(scope, receive, send)
            return
        try:
            lines = await self._admit(scope)
        except TooManyRequests as refusal:
            await self._render(scope, refusal)(scope, receive, send)
            return

        if not lines:
            await self._app(scope, receive, send)
            return

        async def send_with_allowance(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *lines]
            await send(message)

        await self._app(scope, receive, send_with_allowance)

    async def _admit(self, scope: Scope) -> HeaderLines:
        sent = sent_key(scope)
        if sent is None:
            return await self._limit.admit_shared(scope["client"], scope["headers"])
        remembered = sent.remembered()
        limited = None if remembered is None else sent.limited(remembered)
        of_key = None if limited is None else await self._limit.admit_key(limited)
        of_client = await self._limit.admit_shared(scope["client"], scope["headers"])
        if remembered is None and (limited := sent.limited(await sent.asked())) is not None:
            of_key = await self._limit.admit_key(limited)
        return of_client if of_key is None else of_key


def client_network(scope: Scope, trusted_proxies: Sequence[Network]) -> str:
    """Return the client of a request: the nearest address that is not one of our proxies, or its /64 for IPv6.

    Each proxy appends to X-Forwarded-For the address that it received the request from. So the list is read from the
    right, and an entry is believed only if its writer is trusted. Entries that the client wrote itself are further
    left. If one of our proxies wrote an entry that is not an address, the address of that proxy counts: the clients
    behind it share one limit, and a client gains nothing by sending a new text with each request.
    """
    address = _parse(scope["client"][0] if scope["client"] else "")
    forwarded = [entry for line in headers(scope, b"x-forwarded-for") for entry in line.split(",")]
    while address is not None and forwarded and any(address in network for network in trusted_proxies):
        before = _parse_forwarded(forwarded.pop())
        if before is None:
            break
        address = before
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return "" if address is None else str(address)


def _parse_forwarded(entry: str) -> IPv4Address | IPv6Address | None:
    parts = _FORWARDED.fullmatch(entry.strip())
    return None if parts is None else _parse(parts["bracketed"] or parts["v4"] or parts["bare"])


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on both families shows an IPv4 client as ::ffff:192.0.2.1; all of these are in one /64.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
