"""The direct route of the statistics; see servicekit.protocol.direct."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from contract.access import Scope
from contract.auth_events.events import DeviceType
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
    if_none_match: bytes | None


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
        return StatisticsQuestion(credential, _QUERIES[payload], headers.get(b"if-none-match"))

    def answer(self, ordinary: StatisticsQuestion, _: str, state: Mapping[str, Any]) -> Pending:
        """Share the next query for the totals, and its responses, with all requests that arrive before it begins."""
        count_use(state, ordinary.credential)
        reader = state["readers"][AUTH_EVENTS.name]
        return Pending(reader.totals.begin(ordinary.credential.project_id), partial(_respond, ordinary))


def _respond(question: StatisticsQuestion, totals: "asyncio.Future[Totals]") -> DirectResponse:
    return totals.result().answer(question.device_type).respond_directly(question.if_none_match)
