"""ASGI middleware for FastAPI, Starlette and every other ASGI application."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from device_statistics_track.event import DISCONNECTED_STATUS, EXCEPTION_STATUS
from device_statistics_track.recording import Recorder, Start, new_recorder
from device_statistics_track.routes import asgi_template
from device_statistics_track.sender import Sender

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_BODY_TYPES = {"http.response.body", "http.response.zerocopysend"}
_SHUTDOWN_TYPES = {"lifespan.shutdown.complete", "lifespan.shutdown.failed"}


class TrackMiddleware:
    """Reports each HTTP request. Bodies pass through unread; without a key everything does.

    Args:
        app: the application.
        api_key: a key with the scope `ingest`; default: the environment's DEVICE_STATISTICS_API_KEY.
        url: the product's address, such as https://statistics.example.com; default: DEVICE_STATISTICS_URL.
        consumer: returns the name of the caller from the scope, or None. It runs after the response.
        user_agent: whether the header User-Agent is reported.
    """

    def __init__(
        self,
        app: Application,
        *,
        api_key: str | None = None,
        url: str | None = None,
        consumer: Callable[[Scope], str | None] | None = None,
        user_agent: bool = False,
    ) -> None:
        self.app = app
        self._recorder = new_recorder(api_key, url, asgi_template, consumer, _user_agent if user_agent else None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record it at its end."""
        recorder = self._recorder
        if recorder is None or scope["type"] not in ("http", "lifespan"):
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, _flushing(recorder.sender, send))
        else:
            await _Exchange(recorder, scope, receive, send).run(self.app)


class _Exchange:
    """One request and its response. It is recorded once: with the last byte, or when the application ends before."""

    __slots__ = ("_disconnected", "_receive", "_recorded", "_recorder", "_scope", "_send", "_start", "_status")

    def __init__(self, recorder: Recorder[Scope], scope: Scope, receive: Receive, send: Send) -> None:
        self._recorder = recorder
        self._scope = scope
        self._receive = receive
        self._send = send
        self._start = Start()
        self._status = EXCEPTION_STATUS  # a server answers 500 for an application that answers nothing
        self._disconnected = False
        self._recorded = False

    async def run(self, app: Application) -> None:
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            # Servers cancel the application when the client is gone.
            self._record(DISCONNECTED_STATUS)
            raise
        finally:
            # The response is not complete, with or without an exception: the client got an error or a part.
            self._record(EXCEPTION_STATUS)

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._disconnected = True
        return message

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._status = message["status"]
        try:
            await self._send(message)
        except OSError:
            self._disconnected = True
            raise
        if (kind in _BODY_TYPES and not message.get("more_body", False)) or kind == "http.response.pathsend":
            self._record(self._status)

    def _record(self, status: int) -> None:
        if not self._recorded:
            self._recorded = True
            status = DISCONNECTED_STATUS if self._disconnected else status
            url_path = self._recorder.template(self._scope)
            self._recorder.record(self._scope, url_path, self._scope["method"], status, self._start)


def _flushing(sender: Sender, send: Send) -> Send:
    """Send what waits before the server hears that the application has shut down, because it may exit then."""

    async def send_after_flush(message: Message) -> None:
        if message["type"] in _SHUTDOWN_TYPES:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:  # a server on another event loop; nothing else runs at this moment
                sender.flush()
            else:
                await loop.run_in_executor(None, sender.flush)
        await send(message)

    return send_after_flush


def _user_agent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"user-agent":
            text: str = value.decode("latin-1")
            return text
    return None
