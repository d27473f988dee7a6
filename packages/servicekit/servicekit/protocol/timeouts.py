"""Closes connections that are idle or too slow."""

import asyncio

from typing_extensions import override

from servicekit.errors import RequestTimeout
from servicekit.protocol.error_answers import ErrorAnswer, ErrorAnswerProtocol

REQUEST_SECONDS_MAX = 15.0
# A client that takes nothing of its response for this time, and up to REQUEST_SECONDS_MAX more, is cut off.
STALL_SECONDS_MAX = 60.0

_TOO_SLOW = ErrorAnswer(RequestTimeout("the request did not arrive whole in time"))


class TimeoutProtocol(ErrorAnswerProtocol):
    """Closes a connection if a request, headers and body, is not complete within `REQUEST_SECONDS_MAX`, or if no
    request begins within uvicorn's keep-alive time-out. A client that stops reading its response is cut off, too.

    uvicorn has only the keep-alive time-out, and starts and stops a timer for every request. Here a connection has one
    timer, which fires at least every `REQUEST_SECONDS_MAX`, so a deadline that is set in between is checked in time.
    """

    # Readings of the event loop's clock; None while the client does not have to send anything.
    _request_deadline: float | None = None
    _idle_deadline: float | None = None
    _timer: asyncio.TimerHandle | None = None
    # None while the client takes what is written; beside it, how much was left at the last look.
    _stall_deadline: float | None = None
    _unsent_bytes = 0

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

    @override
    def pause_writing(self) -> None:
        """Called when the client is slower than its response."""
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._stall_deadline = self.loop.time() + STALL_SECONDS_MAX

    @override
    def resume_writing(self) -> None:
        """Called when it has taken nearly everything."""
        self._stall_deadline = None
        super().resume_writing()

    def _await_next_request(self) -> None:
        self._request_deadline, self._idle_deadline = None, self.loop.time() + self.timeout_keep_alive

    def _has_stalled(self) -> bool:
        if self._stall_deadline is None:
            return False
        unsent = self.transport.get_write_buffer_size()
        if unsent < self._unsent_bytes:
            self._unsent_bytes, self._stall_deadline = unsent, self.loop.time() + STALL_SECONDS_MAX
        return self.loop.time() >= self._stall_deadline

    def _check_deadlines(self) -> None:
        if self._has_stalled():
            self.transport.abort()  # what is left will not be taken
            return
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
