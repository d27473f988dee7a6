"""What both middlewares share: they measure one request and hand it to the sender."""

import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from device_statistics_track.event import (
    CONSUMER_CHARACTERS_MAX,
    METHOD_CHARACTERS_MAX,
    PATH_CHARACTERS_MAX,
    UNMATCHED,
    USER_AGENT_CHARACTERS_MAX,
    Event,
    clean,
)
from device_statistics_track.sender import Sender
from device_statistics_track.settings import read_settings

logger = logging.getLogger("device_statistics_track")

# What a server hands to the application: an ASGI scope, a WSGI environment.
Context = TypeVar("Context")


class Recorder(Generic[Context]):
    """Records requests, given how to read their context. `template`, `consumer` and `user_agent` may return None."""

    def __init__(
        self,
        sender: Sender,
        template: Callable[[Context], str | None],
        consumer: Callable[[Context], str | None] | None,
        user_agent: Callable[[Context], str | None] | None,
    ) -> None:
        self.sender = sender
        self._template = template
        self._consumer = consumer
        self._user_agent = user_agent
        self._error_is_logged = False

    def template(self, context: Context) -> str | None:
        """Return the route template, None when no route matched. It never raises."""
        return self._text(self._template, context, PATH_CHARACTERS_MAX)

    def record(self, context: Context, url_path: str | None, method: str, status: int, started: "Start") -> None:
        """Record one request that has just ended. It never raises."""
        duration_ns = time.perf_counter_ns() - started.perf_counter_ns
        event = Event(
            url_path or UNMATCHED,
            clean(method, METHOD_CHARACTERS_MAX) or "(none)",
            status,
            duration_ns,
            started.unix_ns,
            self._text(self._user_agent, context, USER_AGENT_CHARACTERS_MAX),
            self._text(self._consumer, context, CONSUMER_CHARACTERS_MAX),
        )
        self.sender.record(event)

    def _text(self, read: Callable[[Context], str | None] | None, context: Context, characters_max: int) -> str | None:
        if read is None:
            return None
        try:
            return clean(read(context), characters_max)
        except Exception:  # it runs code of the host and of its framework, and the response must not depend on it
            if not self._error_is_logged:
                self._error_is_logged = True
                logger.exception("a request is reported without a value; later errors of this kind are not logged")
            return None


class Start:
    """The moment at which a request began, on two clocks."""

    __slots__ = ("perf_counter_ns", "unix_ns")

    def __init__(self) -> None:
        self.perf_counter_ns = time.perf_counter_ns()
        self.unix_ns = time.time_ns()


def new_recorder(
    api_key: str | None,
    url: str | None,
    template: Callable[[Context], str | None],
    consumer: Callable[[Context], str | None] | None,
    user_agent: Callable[[Context], str | None] | None,
) -> Recorder[Context] | None:
    """Return a recorder with a sender of its own, or None when reporting is off."""
    settings = read_settings(api_key, url)
    return None if settings is None else Recorder(Sender(settings), template, consumer, user_agent)
