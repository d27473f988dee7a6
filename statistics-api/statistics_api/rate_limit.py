"""An optional limit on the requests of one client address, kept by each process for itself."""

import math
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.types import ASGIApp, Receive, Scope, Send

from servicekit.errors import TooManyRequests
from servicekit.http.error_responses import Renderer

Network = IPv4Network | IPv6Network
_EXEMPT_PATHS = frozenset({"/health", "/livez", "/readyz"})
# One customer of a provider usually holds a whole /64, and could otherwise use a new address for every request.
_IPV6_PREFIX = 64


class RateLimitMiddleware:
    """Refuses with 429 whoever asks more often than `rate`."""

    def __init__(
        self, app: ASGIApp, *, rate: RateLimitItem, trusted_proxies: Sequence[Network], render: Renderer
    ) -> None:
        self._app = app
        self._rate = rate
        self._trusted_proxies = trusted_proxies
        self._render = render
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].rstrip("/") in _EXEMPT_PATHS:
            await self._app(scope, receive, send)
            return
        address = client_address(scope, self._trusted_proxies)
        if self._limiter.hit(self._rate, address):
            await self._app(scope, receive, send)
        else:
            free_at = self._limiter.get_window_stats(self._rate, address).reset_time
            seconds = max(1, math.ceil(free_at - time.time()))  # noqa: TID251 - the library's own clock
            refusal = TooManyRequests(f"more than {self._rate}", seconds, limit=self._rate.amount)
            await self._render(scope, refusal)(scope, receive, send)


def client_address(scope: Scope, trusted_proxies: Sequence[Network]) -> str:
    """Who is asking: the nearest address that is not one of our own proxies.

    Each proxy appends the address it saw to X-Forwarded-For, so the list is read from the right, and only as far
    as the one who wrote an entry is trusted. Whatever a client wrote there itself stands further left.
    """
    nearest = scope["client"][0] if scope["client"] else ""
    forwarded = [
        entry.strip()
        for name, value in scope["headers"]
        if name == b"x-forwarded-for"
        for entry in value.decode("latin-1").split(",")
    ]
    address = _parse(nearest)
    while address is not None and forwarded and any(address in network for network in trusted_proxies):
        nearest = forwarded.pop()
        address = _parse(nearest)
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _IPV6_PREFIX), strict=False))
    return nearest if address is None else str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket that listens on both families shows an IPv4 client as ::ffff:192.0.2.1, all of them in one /64.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
