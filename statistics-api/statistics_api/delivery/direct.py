"""The direct route that records an ordinary single event, of any kind; see servicekit.protocol.direct."""

from collections.abc import Mapping
from typing import Any, Generic, NamedTuple

from contract.access import Scope
from servicekit.http.bodies import is_idempotency_key
from servicekit.protocol.direct_routes import DirectResponse, Pending, ResponseTemplate
from statistics_api.access.credentials import Credential, count_use, remembered_credential
from statistics_api.delivery.accepting import ReadEvent, accept_read, read_valid
from statistics_api.delivery.gateway import EventGateway
from statistics_api.delivery.kinds import EventKind, EventModel, Recorded


class ValidEvent(NamedTuple):
    """A valid event, and the credential of its request."""

    read: ReadEvent
    credential: Credential


class DirectRecording(Generic[EventModel]):
    """Records a valid event; `delivery.endpoints.record_event` handles any other request."""

    method = b"POST"

    def __init__(self, kind: EventKind[EventModel], path: bytes, *, needs_key: bool = False) -> None:
        self.path = path
        self._kind = kind
        self._needs_key = needs_key
        # To a new event and to a replay; each is made once, and gets another body for another row.
        self._templates: dict[bool, ResponseTemplate] = {}

    def read(self, headers: Mapping[bytes, bytes], payload: bytes, state: Mapping[str, Any]) -> ValidEvent | None:
        """Return the event, or None if it is not valid, or its credential is not one that is remembered."""
        credential = remembered_credential(headers, state, Scope.INGEST)
        if credential is None or (self._needs_key and credential.key_id is None):
            return None
        sent = headers.get(b"idempotency-key")
        key = None if sent is None else sent.decode("latin-1")
        if key is not None and not is_idempotency_key(key):
            return None
        event = read_valid(self._kind, payload, key)
        return None if event is None else ValidEvent(event, credential)

    def answer(self, ordinary: ValidEvent, request_id: str, state: Mapping[str, Any]) -> Pending:
        """Forward the event; the response is made after the event is recorded."""
        count_use(state, ordinary.credential)
        gateway: EventGateway[EventModel] = state["gateways"][self._kind.name]
        event = accept_read(ordinary.read, project_id=ordinary.credential.project_id, request_id=request_id)
        return Pending(gateway.begin(event), self._respond)

    def _respond(self, recorded: Recorded) -> DirectResponse:
        template = self._templates.get(recorded.is_replay)
        if template is None:
            template = self._templates[recorded.is_replay] = ResponseTemplate.of(self._kind.respond(recorded))
        return template.response if recorded.row is None else template.with_body(recorded.row)
