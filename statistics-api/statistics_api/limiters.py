"""Count the requests of a subject against a rate: in this process, or in a store that all processes share."""

import asyncio
import contextlib
import hashlib
import logging
import math
import time
from typing import NamedTuple, TypeAlias

from limits import RateLimitItem
from limits.aio.storage.redis import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from limits.util import WindowStats
from valkey.asyncio import ConnectionPool
from valkey.exceptions import ValkeyError

from servicekit.errors import TooManyRequests

# For everything that one request asks the store, a new connection included.
STORE_SECONDS_MAX = 0.05
# After a failure, the process counts by itself for this time. Then one request tries the store again; each further
# failure doubles the pause. An attempt may occupy a thread of the resolver for seconds, and there are only a few.
PAUSE_SECONDS = 1.0
PAUSE_SECONDS_MAX = 10.0
# One connection for each request that asks the store at the same time; other requests wait for their turn.
_CONNECTIONS_MAX = 8

_log = logging.getLogger(__name__)

# The last three are the library's, for a server that speaks the protocol and answers as neither Redis nor Valkey does.
_STORE_ERRORS = (ValkeyError, OSError, ValueError, TypeError, LookupError)

# Where the subject stands, and whether the request is allowed.
_Counted: TypeAlias = tuple[WindowStats, bool]


class Allowance(NamedTuple):
    """Where a subject stands within its rate, with the request that was just counted."""

    # The number of requests in one window.
    limit: int
    remaining: int
    # The time until more requests are allowed.
    reset_seconds: int

    def header_lines(self) -> list[tuple[bytes, bytes]]:
        """The headers that tell this to the client."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]


class LocalLimiter:
    """Counts in the memory of this process, exactly."""

    def __init__(self) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def hit(self, subject: str, rate: RateLimitItem) -> Allowance:
        """Count one request of a subject.

        Raises:
            TooManyRequests: the subject sends more requests than the rate allows.
        """
        is_allowed = self._limiter.hit(rate, subject)
        return _judge(rate, self._limiter.get_window_stats(rate, subject), is_allowed=is_allowed)


class SharedLimiter:
    """Counts in Redis or Valkey. While the store is away or slow, each process counts by itself.

    Two windows are weighted there (a sliding window counter), so the store keeps two numbers a subject.
    """

    def __init__(self, url: str, *, secret: bytes) -> None:
        """`url` contains the password, so it is never logged. Nothing connects before the first request.

        The names in the store are keyed hashes with `secret`, at most 64 bytes: the store learns no client's address.
        """
        self._connections = ConnectionPool.from_url(
            url, socket_connect_timeout=STORE_SECONDS_MAX, socket_timeout=STORE_SECONDS_MAX
        )
        # The client of Valkey also speaks to Redis. The library takes a pool, and its annotation does not say so.
        storage = RedisStorage(url, implementation="valkey", connection_pool=self._connections)  # type: ignore[arg-type]
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._local = LocalLimiter()
        self._secret = secret
        self._turns = asyncio.Semaphore(_CONNECTIONS_MAX)
        # The time (monotonic) of the next attempt; None while the store is in use.
        self._retry_at: float | None = None
        self._pause_seconds = PAUSE_SECONDS

    async def hit(self, subject: str, rate: RateLimitItem) -> Allowance:
        """Count one request of a subject.

        Raises:
            TooManyRequests: the subject sends more requests than the rate allows.
        """
        name = self._name(subject)
        if self.is_in_use():
            async with self._turns:
                # The store may have failed while this request waited for its turn.
                counted = await self._hit_store(name, rate) if self.is_in_use() else None
        else:
            counted = await self._try_store_again(name, rate)
        if counted is None:
            return self._local.hit(subject, rate)
        stats, is_allowed = counted
        return _judge(rate, stats, is_allowed=is_allowed)

    async def close(self) -> None:
        """Close the connections to the store."""
        with contextlib.suppress(*_STORE_ERRORS):  # a store that does not answer closes no connection in order
            await self._connections.disconnect()

    def is_in_use(self) -> bool:
        """Whether the store counts."""
        return self._retry_at is None

    async def _try_store_again(self, name: str, rate: RateLimitItem) -> _Counted | None:
        """Ask the store after the pause, for one request: others go on without it until this one has succeeded."""
        now = time.monotonic()
        if self._retry_at is not None and now < self._retry_at:
            return None
        self._pause_seconds = min(2 * self._pause_seconds, PAUSE_SECONDS_MAX)
        self._retry_at = now + self._pause_seconds
        counted = await self._hit_store(name, rate)
        if counted is not None:
            self._retry_at = None
            _log.info("the store of the rate limit is back: all processes share the limit again")
        return counted

    async def _hit_store(self, name: str, rate: RateLimitItem) -> _Counted | None:
        """Return where the subject stands and whether the request is allowed; None when the store cannot tell."""
        try:
            async with asyncio.timeout(STORE_SECONDS_MAX):
                is_allowed = await self._limiter.hit(rate, name)
                return await self._limiter.get_window_stats(rate, name), is_allowed
        except _STORE_ERRORS as error:
            if self.is_in_use():
                self._pause_seconds = PAUSE_SECONDS
                self._retry_at = time.monotonic() + PAUSE_SECONDS
                # Only the kind of the error: its text may contain what was sent.
                _log.warning(
                    "the store of the rate limit failed (%s): each process has its own limit until it is back",
                    type(error).__name__,
                )
            return None

    def _name(self, subject: str) -> str:
        return hashlib.blake2b(subject.encode(), digest_size=16, key=self._secret).hexdigest()


def _judge(rate: RateLimitItem, stats: WindowStats, *, is_allowed: bool) -> Allowance:
    # The library's own clock, because it computed the time with it.
    reset_seconds = max(1, math.ceil(stats.reset_time - time.time()))  # noqa: TID251
    if not is_allowed:
        raise TooManyRequests(f"more than {rate}", reset_seconds, limit=rate.amount)
    return Allowance(rate.amount, stats.remaining, reset_seconds)
