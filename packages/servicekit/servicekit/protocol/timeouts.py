"""Closes connections that are idle or too slow."""

import asyncio

from typing_extensions import override

from servicekit.errors import RequestTimeout
from servicekit.protocol.error_answers import ErrorAnswer, ErrorAnswerProtocol

REQUEST_SECONDS_MAX = 15.0

_TOO_SLOW = ErrorAnswer(RequestTimeout("the request did not arrive whole in time"))


class TimeoutProtocol(ErrorAnswerProtocol):
    """Closes a connection if a request, headers and body, is not complete within `REQUEST_SECONDS_MAX`, or if no
    request begins within uvicorn's keep-alive time-out.

    uvicorn has only the keep-alive time-out, and starts and stops a timer for every request. Here a connection has one
    timer, which fires at least every `REQUEST_SECONDS_MAX`, so a deadline that is set in between is checked in time.
    """

    # Readings of the event loop's clock; None while the client does not have to send anything.
    _request_deadline: float | None = None
    _idle_deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._request_deadline = self.loop.time() + REQUEST_SECONDS_MAX  # for the first request of the connection
        self._check_deadlines()

    @override
    def on_message_begin(self) -> None:
        self._request_deadline, self._idle_deadline = self.loop.time() + REQUEST_SECONDS_MAX, None
        super().on_message_begin()

    @override
    def on_message_complete(self) -> None:
        self._request_deadline = None
        super().on_message_complete()

    @override
    def on_response_complete(self) -> None:
        """As uvicorn's, without its timer."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())
            elif self._request_deadline is None:  # otherwise the next request has begun already
                self._await_next_request()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _await_next_request(self) -> None:
        self._request_deadline, self._idle_deadline = None, self.loop.time() + self.timeout_keep_alive

    def _check_deadlines(self) -> None:
        due = self._request_deadline or self._idle_deadline
        seconds = REQUEST_SECONDS_MAX if due is None else min(REQUEST_SECONDS_MAX, due - self.loop.time())
        if seconds > 0:
            self._timer = self.loop.call_later(seconds, self._check_deadlines)
        else:
            self._close_timed_out()

    def _close_timed_out(self) -> None:
        if self._request_deadline is None:
            self.transport.close()
        else:
            self._end_with_error(_TOO_SLOW)
