"""The direct route that records an ordinary single event, of any kind; see servicekit.protocol.direct."""

import asyncio
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple

from contract.access import Scope
from servicekit.http.bodies import is_idempotency_key
from servicekit.protocol.direct_routes import DirectResponse, Pending, ResponseTemplate
from statistics_api.access.credentials import Credential, count_use, remembered_credential
from statistics_api.delivery.accepting import ReadEvent, accept_read, read_valid
from statistics_api.delivery.deferral import accepted_response, is_deferrable
from statistics_api.delivery.gateway import EventGateway
from statistics_api.delivery.kinds import EventKind, EventModel, Recorded


class ValidEvent(NamedTuple):
    """A valid event, the credential of its request, and what stands in its path in place of the route's star."""

    read: ReadEvent
    credential: Credential
    segment: str = ""
    is_deferrable: bool = False


class DirectRecording(Generic[EventModel]):
    """Records a valid event; `delivery.endpoints.record_event` handles any other request."""

    method = b"POST"

    def __init__(self, kind: EventKind[EventModel], path: bytes, *, needs_key: bool = False) -> None:
        self.path = path
        self._kind = kind
        self._needs_key = needs_key
        # To a new event and to a replay; each is made once, and gets another body for another row.
        self._templates: dict[bool, ResponseTemplate] = {}

    def read(
        self, headers: Mapping[bytes, bytes], payload: bytes, state: Mapping[str, Any], segment: str = ""
    ) -> ValidEvent | None:
        """Return the event, or None if it is not valid, or its credential is not one that is remembered."""
        credential = remembered_credential(headers, state, Scope.INGEST)
        if credential is None or (self._needs_key and credential.key_id is None):
            return None
        sent = headers.get(b"idempotency-key")
        key = None if sent is None else sent.decode("latin-1")
        if key is not None and not is_idempotency_key(key):
            return None
        kind = self.kind_at(credential.project_id, segment, state)
        event = None if kind is None else read_valid(kind, payload, key)
        if event is None:
            return None
        prefer = headers.get(b"prefer")
        deferrable = prefer is not None and is_deferrable([prefer.decode("latin-1")])
        return ValidEvent(event, credential, segment, deferrable)

    def answer(self, ordinary: ValidEvent, request_id: str, state: Mapping[str, Any]) -> Pending:
        """Forward the event; the response is made after the event is recorded."""
        count_use(state, ordinary.credential)
        gateway: EventGateway[EventModel] = state["gateways"][self._kind.name]
        event = accept_read(
            ordinary.read,
            project_id=ordinary.credential.project_id,
            request_id=request_id,
            is_deferrable=ordinary.is_deferrable,
        )
        return Pending(gateway.begin(event), self.respond)

    def kind_at(self, project_id: int, segment: str, state: Mapping[str, Any]) -> EventKind[EventModel] | None:  # noqa: ARG002 - for a route whose path gives fields
        """Return the kind for a path, or None if what the path names is not remembered."""
        return self._kind

    def respond(self, outcome: "asyncio.Future[Recorded]") -> DirectResponse:
        """Return the response to a recorded event. Raises as `EventGateway.forward`."""
        recorded = outcome.result()
        if not recorded.is_counted:
            return DirectResponse.of(accepted_response())
        template = self._templates.get(recorded.is_replay)
        if template is None:
            template = self._templates[recorded.is_replay] = ResponseTemplate.of(self._kind.respond(recorded))
        return template.response if recorded.row is None else template.with_body(recorded.row)
