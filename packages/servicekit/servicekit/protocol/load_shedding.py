"""Load shedding: refuses a request beyond the limit before it costs much.

An overloaded process that spends half as much on a refusal as on an answer has little left for answers. Here a refusal
is one comparison and one write in the HTTP parser's callback: no task, no scope, no log line of its own.

A client that repeats at once still costs a refusal each time, and a few hundred such clients take the whole process. So
beyond a tenth of a core for refusals, a connection is not read for a while after a refusal: the next request waits in
the client's own socket.
"""

import asyncio
import logging
import random
import time
from functools import partial
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from servicekit.concurrency.concurrency_limit import concurrency_limit
from servicekit.errors import Overloaded
from servicekit.http.paths import HEALTH_PATHS
from servicekit.process import drain
from servicekit.protocol.error_answers import ErrorAnswer
from servicekit.protocol.timeouts import TimeoutProtocol

OVERLOADED = "too many requests are in flight"
LOG_SECONDS = 1.0
# A connection is not read for a random time between these two after a refusal, so that clients which were refused
# together do not come back together. 2,000 clients that repeat at once cost 2,000 refusals a second, not 40,000
# (docs/decisions/0016-pause-after-a-refusal.md).
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.5, 1.0
# Refusals without a pause: a connection that several clients share should not be delayed while refusals are affordable.
# That depends on what a refusal takes here and now: 20 us, or four times as much where processes compete for the core.
FREE_REFUSALS_PER_SECOND = 5_000
FREE_REFUSALS_SHARE = 0.1  # of a core
# A refusal takes so many times its measured part: the request is also read from its socket and parsed.
_WHOLE_REFUSAL = 2.5
# The weight of one refusal in the moving average of what they take.
_EWMA_WEIGHT = 1 / 64
_FREE_REFUSALS_SECONDS_MAX = 0.1  # of the budget that is saved up while there is little to refuse
# If these were refused, a balancer would restart a process that works, or send its share of the load to the others.
_EXEMPT_PATHS = frozenset(path.encode() for path in HEALTH_PATHS)

_log = logging.getLogger(__name__)
_REFUSAL = ErrorAnswer(Overloaded(OVERLOADED))


class LoadSheddingProtocol(TimeoutProtocol):
    """Refuses a request while too many are in flight in this process; the full limit is `limit_concurrency`.

    A request whose body is still arriving is not counted: clients that are slow on purpose would take every place for
    the 15 s that they are granted. uvicorn's own check of the setting counts idle connections too, and is switched
    off. A request that is pipelined, a HEAD, or one that waits for 100 Continue is refused in a task, which costs more.
    """

    _refusing = False
    _is_receiving = False
    # The request whose task runs is one that was refused.
    _refusing_in_task = False
    _pause_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        if self.limit_concurrency is not None:
            concurrency_limit.configure(self.limit_concurrency)
        self.limit_concurrency = None  # uvicorn's own check
        super().connection_made(transport)

    @override
    def on_headers_complete(self) -> None:
        self._refusing = concurrency_limit.is_exceeded() and self._can_refuse_inline() and _is_sheddable(self.url)
        if not self._refusing:
            super().on_headers_complete()
            self._set_receiving(is_receiving=True)

    @override
    def on_body(self, body: bytes) -> None:
        if not self._refusing:
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        if self._refusing:
            self._refuse()
        else:
            self._set_receiving(is_receiving=False)
            super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        was_refused, self._refusing_in_task = self._refusing_in_task, False
        if self._is_receiving and self._request_in_flight() is None:
            self._set_receiving(is_receiving=False)  # a body that comes after its answer belongs to no request
        super().on_response_complete()
        if was_refused and self._request_in_flight() is None:
            self._pause_reading_beyond_the_budget()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._set_receiving(is_receiving=False)
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        super().connection_lost(exc)

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if concurrency_limit.is_exceeded() and _is_sheddable(cycle.scope["raw_path"]):
            app = self._error_app(_REFUSAL, closes=drain.is_draining())
            _refusals.increment(self.loop)
            self._refusing_in_task = True
        concurrency_limit.started += 1
        super()._start_asgi_task(cycle, cast("ASGI3Application", partial(_track_in_flight, cast("ASGIApp", app))))

    def _set_receiving(self, *, is_receiving: bool) -> None:
        concurrency_limit.receiving += is_receiving - self._is_receiving
        self._is_receiving = is_receiving

    def _can_refuse_inline(self) -> bool:
        return (
            self._request_in_flight() is None and not self.expect_100_continue and self.parser.get_method() != b"HEAD"
        )

    def _refuse(self) -> None:
        begun = time.thread_time()
        self._refusing = False
        stays = self.parser.should_keep_alive() and not drain.is_draining()
        self._write_error(_REFUSAL, closes=not stays)
        free_refusals.observe(time.thread_time() - begun)
        _refusals.increment(self.loop)
        if stays:
            self._await_next_request()
            self._pause_reading_beyond_the_budget()
        else:
            self.transport.close()

    def _pause_reading_beyond_the_budget(self) -> None:
        if self.transport.is_closing() or free_refusals.spend(self.loop.time()):
            return
        if self._pause_timer is not None:
            self._pause_timer.cancel()
        self.flow.pause_reading()
        seconds = random.uniform(PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX)  # noqa: S311 - not a secret
        self._pause_timer = self.loop.call_later(seconds, self._resume_reading)

    def _resume_reading(self) -> None:
        self._pause_timer = None
        # A request that is in flight came with the refused one, and uvicorn resumes reading for it.
        if not self.transport.is_closing() and self._request_in_flight() is None:
            if self._request_deadline is None:
                self._await_next_request()  # the client's silence begins here
            self.flow.resume_reading()


def _is_sheddable(target: bytes) -> bool:
    return target.partition(b"?")[0].rstrip(b"/") not in _EXEMPT_PATHS


async def _track_in_flight(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        await app(scope, receive, send)
    finally:
        concurrency_limit.started -= 1


class RefusalBudget:
    """A token bucket of refusals that need no pause; readings of the clock are in seconds.

    It gets `per_second` tokens, or fewer where those would take more than `share` of a core.
    """

    def __init__(self, per_second: float, share: float = 1.0) -> None:
        self.per_second = per_second
        self._share = share
        # The processor time of a refusal; 0 before the first one.
        self._seconds = 0.0
        self._left = 0.0
        self._refilled_at = 0.0

    def spend(self, now: float) -> bool:
        """Take one refusal from the budget; whether there was one."""
        affordable = min(self.per_second, self._share / self._seconds) if self._seconds else self.per_second
        saved_max = max(1.0, affordable * _FREE_REFUSALS_SECONDS_MAX)
        self._left = min(saved_max, self._left + (now - self._refilled_at) * affordable)
        self._refilled_at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def observe(self, seconds: float) -> None:
        """The measured part of a refusal took so much processor time."""
        whole = seconds * _WHOLE_REFUSAL
        self._seconds += (whole - self._seconds) * (_EWMA_WEIGHT if self._seconds else 1.0)


class _RefusalCounter:
    """Writes one log line a second, not one for each refusal."""

    def __init__(self) -> None:
        self._refused = 0

    def increment(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._refused == 0:
            loop.call_later(LOG_SECONDS, self._write)
        self._refused += 1
        concurrency_limit.refused += 1

    def _write(self) -> None:
        _log.warning("refused %d requests in %.0f s: %s", self._refused, LOG_SECONDS, OVERLOADED)
        self._refused = 0


_refusals = _RefusalCounter()
free_refusals = RefusalBudget(FREE_REFUSALS_PER_SECOND, FREE_REFUSALS_SHARE)
