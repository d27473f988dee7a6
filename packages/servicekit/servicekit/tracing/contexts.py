"""The trace contexts of the requests in flight, as their clients sent them (https://www.w3.org/TR/trace-context/).

A flush joins the events of many requests, so no context variable can say which contexts it has: they are found by the
ids of the requests, which their events carry anyway.
"""

import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
# The sender of an unusual version, and of a state, may make it as long as it likes.
_TEXT_MAX = 512
_SAMPLED = 1
# Version ff, and ids of zeros, are not valid. Versions after 00 may have more fields.
_VALID = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?", re.ASCII
)


class TraceContext(NamedTuple):
    """The trace, and the span of the caller in it."""

    trace_id: int
    span_id: int
    flags: int
    state: str

    @property
    def is_sampled(self) -> bool:
        """Whether the caller records its span."""
        return bool(self.flags & _SAMPLED)


def parsed(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """Return the context, or None if `traceparent` is malformed, and the request is as if it had none."""
    found = _VALID.fullmatch(traceparent) if len(traceparent) <= _TEXT_MAX else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    state = tracestate if len(tracestate) <= _TEXT_MAX else ""
    return TraceContext(int(found[2], 16), int(found[3], 16), int(found[4], 16), state)


class RequestContexts:
    """Those of one process. Without tracing, `is_on` is False and nothing is kept."""

    def __init__(self) -> None:
        self.is_on = False
        self._contexts: dict[str, TraceContext] = {}

    def __len__(self) -> int:
        return len(self._contexts)

    def begin(self, request_id: str, traceparent: bytes | None, tracestate: bytes | None) -> None:
        """Keep the context of a request until `end`. What the caller begins from now on is part of the request."""
        current_request.set(request_id)
        if traceparent is not None:
            context = parsed(traceparent.decode("latin-1"), (tracestate or b"").decode("latin-1"))
            if context is not None:
                self._contexts[request_id] = context

    def end(self, request_id: str) -> None:
        """Forget it. Of two requests with the same id at the same time, the second may be left without one."""
        self._contexts.pop(request_id, None)

    def find(self, request_id: str) -> TraceContext | None:
        """Return the context of a request, if it has one."""
        return self._contexts.get(request_id)

    def sampled(self, request_ids: Iterable[str]) -> Iterator[TraceContext]:
        """Yield the contexts of these requests whose callers record them."""
        if self._contexts:
            for each in request_ids:
                context = self._contexts.get(each)
                if context is not None and context.is_sampled:
                    yield context


# The id of the request that a task serves, where the task serves one alone. A task that goes on for others keeps the id
# of the one it began with, which has no context any more.
current_request: ContextVar[str] = ContextVar("current_request", default="")
# State of the process: a protocol class has no parameters.
request_contexts = RequestContexts()
