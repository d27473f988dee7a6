"""Remembers for a minute what requests have asked, so that repeats are answered directly.

The first request with a target takes the long way, which checks and reads every part of it. A repeat has the same bytes
as its target, so it asks the same question, if its credential stands for the same project: that is checked each time,
by what the process remembers of credentials and projects, as on every direct route (docs/decisions/0039-pollers.md).
"""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from fastapi import Request, Response

from servicekit.http.paths import is_plain
from servicekit.process import clock
from servicekit.protocol.direct_routes import DirectResponse, Pending
from statistics_api.access.credentials import Credential, count_use
from statistics_api.polling.current_answers import CurrentAnswers
from statistics_api.polling.tagged_answers import TaggedAnswer

TARGET_BYTES_MAX = 1_024
# Of all questions that are remembered together; beyond it, a question takes the long way until the minute is over.
POINTS_MAX = 200_000
# What a question takes beside the points of its series.
_POINTS_OF_QUESTION = 100
_SECONDS = 60
_ACCEPT = b"accept"


class Asker(NamedTuple):
    """Whom a request comes from: all of it that a question depends on, and the credential whose use is counted."""

    identity: Hashable
    credential: Credential | None


# Returns who asks by what the process remembers of credentials; None leaves the request to the long way. It gets the
# headers of the request, each of which came once, and the state of the process.
Identify: TypeAlias = Callable[[Mapping[bytes, bytes], Mapping[str, Any]], Asker | None]


class Minute(NamedTuple):
    """A minute of the clock, by its number since the epoch."""

    number: int

    @classmethod
    def present(cls) -> "Minute":
        """Return the present one."""
        return cls(int(clock.seconds() // _SECONDS))

    @property
    def begin(self) -> datetime:
        """When it begins: the time that questions read as now, so that all of a minute are equal."""
        return datetime.fromtimestamp(self.number * _SECONDS, UTC)


class Asked(NamedTuple):
    """A question that the long way has read from a request."""

    question: Hashable
    # Of whom: what `identify` must find for a repeat.
    identity: Hashable
    identify: Identify
    minute: Minute
    # How many points its series has.
    points: int = 0


class _Repeat(NamedTuple):
    question: Hashable
    answers: CurrentAnswers[Any]


class _OrdinaryRepeat(NamedTuple):
    repeat: _Repeat
    credential: Credential | None
    if_none_match: bytes | None


class RepeatedTarget:
    """The direct route of one target: a path and a query string, as bytes."""

    method = b"GET"

    def __init__(self, path: bytes, template: str, identify: Identify) -> None:
        self.path = path
        self.template = template
        self._identify = identify
        # By who asks, and in which form.
        self.repeats: dict[tuple[Hashable, bytes | None], _Repeat] = {}

    def read(
        self, headers: Mapping[bytes, bytes], _: bytes, state: Mapping[str, Any], __: str = ""
    ) -> _OrdinaryRepeat | None:
        """Return the question, or None if nobody who may ask it has asked it, or the credential is not remembered."""
        asker = self._identify(headers, state)
        if asker is None:
            return None
        repeat = self.repeats.get((asker.identity, headers.get(_ACCEPT)))
        return None if repeat is None else _OrdinaryRepeat(repeat, asker.credential, headers.get(b"if-none-match"))

    def answer(self, ordinary: _OrdinaryRepeat, _: str, state: Mapping[str, Any]) -> Pending:
        """Share the next read with all who ask the same."""
        if ordinary.credential is not None:
            count_use(state, ordinary.credential)
        repeat = ordinary.repeat
        return Pending(repeat.answers.begin(repeat.question), partial(_respond, ordinary.if_none_match))


class RepeatedQuestions:
    """The questions of the present minute by their targets; one for each process."""

    def __init__(self) -> None:
        self._minute = Minute(0)
        self._targets: dict[bytes, RepeatedTarget] = {}
        self._points = 0

    def find(self, target: bytes) -> RepeatedTarget | None:
        """Return the direct route of a target that was asked for in this minute, or None."""
        found = self._targets.get(target)
        return found if found is not None and self._minute == Minute.present() else None

    def remember(self, request: Request, asked: Asked, answers: CurrentAnswers[Any]) -> None:
        """Answer the repeats of a GET directly, if they are ordinary and there is room."""
        scope = request.scope
        path: bytes = scope["raw_path"]
        target = path + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = dict(scope["headers"])
        if len(target) > TARGET_BYTES_MAX or not is_plain(path) or len(headers) != len(scope["headers"]):
            return
        asker = asked.identify(headers, scope["state"])
        if asker is None or asker.identity != asked.identity or asked.minute != Minute.present():
            return  # a limited key; or the project or the minute has changed while the answer was read
        if asked.minute != self._minute:
            self._minute, self._targets, self._points = asked.minute, {}, 0
        points = self._points + _POINTS_OF_QUESTION + asked.points
        route = self._targets.get(target) or RepeatedTarget(path, scope["route_template"], asked.identify)
        form = asked.identity, headers.get(_ACCEPT)
        if form not in route.repeats and points <= POINTS_MAX:
            self._points = points
            self._targets[target] = route
            route.repeats[form] = _Repeat(asked.question, answers)


async def answer(request: Request, answers: CurrentAnswers[Any], asked: Asked) -> Response:
    """Return the answer to a question by the long way, and let its repeats take the short one."""
    found: TaggedAnswer = await answers.get(asked.question)
    repeated: RepeatedQuestions | None = request.state.repeated
    if repeated is not None:
        repeated.remember(request, asked, answers)
    return found.respond(request)


def _respond(if_none_match: bytes | None, outcome: "asyncio.Future[TaggedAnswer]") -> DirectResponse:
    return outcome.result().respond_directly(if_none_match)
