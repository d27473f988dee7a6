"""The direct way to the statistics; see servicekit.protocol.direct."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from contract.auth_events.events import DeviceType
from contract.projects import DEFAULT_PROJECT_ID
from servicekit.protocol.direct_routes import DirectResponse, Pending
from statistics_api.auth_events.kind import AUTH_EVENTS
from statistics_api.auth_events.totals import Totals

# The query strings that are ordinary, as bytes: any other takes the long way, which explains what is wrong with it.
_QUERIES: Mapping[bytes, DeviceType | None] = {
    b"": None,
    **{b"deviceType=%b" % device_type.encode(): device_type for device_type in DeviceType},
}


class StatisticsQuestion(NamedTuple):
    """Whose totals, and the tag of the answer that the client has."""

    device_type: DeviceType | None
    etag: str | None


class DirectStatistics:
    """Answers `GET /Log/auth/statistics`."""

    method = b"GET"
    path = b"/Log/auth/statistics"

    def read(self, headers: Mapping[bytes, bytes], payload: bytes) -> StatisticsQuestion | None:
        """The question, if it is one of those that are asked as a rule."""
        if payload not in _QUERIES:
            return None
        sent = headers.get(b"if-none-match")
        # One strong tag; lists, weak tags and `*` take the long way.
        if sent is not None and (sent[:1] != b'"' or sent.count(b'"') != 2 or sent[-1:] != b'"' or b"-" in sent):  # noqa: PLR2004
            return None
        return StatisticsQuestion(_QUERIES[payload], None if sent is None else sent.decode("latin-1"))

    def answer(self, ordinary: StatisticsQuestion, _: str, state: Mapping[str, Any]) -> Pending:
        """Share the next query for the totals, and its responses, with all who ask before it begins."""
        reader = state["readers"][AUTH_EVENTS.name]
        return Pending(reader.totals.begin(DEFAULT_PROJECT_ID), partial(_respond, ordinary))


def _respond(question: StatisticsQuestion, totals: Totals) -> DirectResponse:
    variant = totals.variant(question.device_type)
    return variant.direct_not_modified if question.etag == variant.etag else variant.direct_found
