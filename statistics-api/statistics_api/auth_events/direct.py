"""The direct route of the statistics; see servicekit.protocol.direct."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from contract.access import Scope
from contract.auth_events.events import DeviceType
from servicekit.http.etag import matches
from servicekit.protocol.direct_routes import DirectResponse, Pending
from statistics_api.access.credentials import Credential, count_use, remembered_credential
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.auth_events.totals import Totals

# The ordinary query strings, as bytes. A request with another one takes the ordinary route, which explains the error.
_QUERIES: Mapping[bytes, DeviceType | None] = {
    b"": None,
    **{b"deviceType=%b" % device_type.encode(): device_type for device_type in DeviceType},
}


class StatisticsQuestion(NamedTuple):
    """Who asks, the requested device type, and which responses the client has."""

    credential: Credential
    device_type: DeviceType | None
    if_none_match: str | None


class DirectStatistics:
    """Answers `GET /Log/auth/statistics`."""

    method = b"GET"
    path = b"/Log/auth/statistics"

    def read(
        self, headers: Mapping[bytes, bytes], payload: bytes, state: Mapping[str, Any], _: str = ""
    ) -> StatisticsQuestion | None:
        """Return the question, or None if the request is not ordinary, or its credential is not remembered."""
        if payload not in _QUERIES:
            return None
        credential = remembered_credential(headers, state, Scope.READ)
        if credential is None:
            return None
        sent = headers.get(b"if-none-match")
        return StatisticsQuestion(credential, _QUERIES[payload], None if sent is None else sent.decode("latin-1"))

    def answer(self, ordinary: StatisticsQuestion, _: str, state: Mapping[str, Any]) -> Pending:
        """Share the next query for the totals, and its responses, with all requests that arrive before it begins."""
        count_use(state, ordinary.credential)
        reader = state["readers"][AUTH_EVENTS.name]
        return Pending(reader.totals.begin(ordinary.credential.project_id), partial(_respond, ordinary))


def _respond(question: StatisticsQuestion, totals: "asyncio.Future[Totals]") -> DirectResponse:
    answer = totals.result().answer(question.device_type)
    has_it = question.if_none_match is not None and matches(question.if_none_match, answer.etag)
    return answer.direct_not_modified if has_it else answer.direct_found
