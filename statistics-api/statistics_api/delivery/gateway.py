"""Forwards accepted events to the private service, and converts its outcomes to results or errors."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from contract.delivery import NO_ROW, ForwardedBatchResponse, ForwardResponse, OutcomeStatus
from contract.metric_names import EVENTS
from servicekit.concurrency.coalescer import Coalescer, FlushObserver, Limits
from servicekit.concurrency.retries import RetryBudget
from servicekit.errors import DomainError, Gone, IdempotencyKeyReused, Invalid, NotFound, NotRecorded, OutcomeUnknown
from servicekit.tracing.spans import NoSpans, Spans
from statistics_api.delivery.accepting import AcceptedEvent, encode_forward
from statistics_api.delivery.batches import AcceptedBatch, encode_batch
from statistics_api.delivery.deferral import ACCEPTED_BODY
from statistics_api.delivery.device_api import DeviceApi
from statistics_api.delivery.kinds import EventKind, EventModel, Recorded
from statistics_api.delivery.suppression import Suppressed

# The longest time that a client waits for an event or a batch, in seconds.
EVENT_SECONDS_MAX = 6.0
BATCH_SECONDS_MAX = 10.0
FORWARD_ROWS_MAX = 1_000
_QUEUE_ROWS_MAX = 4_000
# An event that has less time left than this is refused and not sent.
REMAINING_SECONDS_MIN = 1.0

Understood = TypeVar("Understood")

_log = logging.getLogger(__name__)
_FAILURES: dict[OutcomeStatus, Callable[[str], DomainError]] = {
    OutcomeStatus.CONFLICT: IdempotencyKeyReused,
    OutcomeStatus.ERASED: Gone,
    OutcomeStatus.REFUSED: Invalid.single,
    OutcomeStatus.NOT_FOUND: NotFound,
    OutcomeStatus.SUPPRESSED: Suppressed,
    OutcomeStatus.NOT_RECORDED: NotRecorded,
    OutcomeStatus.OUTCOME_UNKNOWN: OutcomeUnknown,
}
_RECORDED = Recorded()
_NO_ROW = NO_ROW.encode()
# How the private service writes a ForwardedBatchResponse.
_BATCH_RESPONSE = b'{"response":'
_ENDS_OF_BATCH_RESPONSE = {b',"replayed":false}': False, b',"replayed":true}': True}


class RecordedBatch(NamedTuple):
    """The response to a client's batch, as JSON, and whether it is the stored response to an earlier one. A batch that
    is not counted yet is in the inbox.
    """

    response: bytes
    is_replay: bool
    is_counted: bool = True


class EventGateway(Generic[EventModel]):
    """Forwards the events of one kind; a process has one for each kind. Its coalescer joins events into one request."""

    def __init__(
        self,
        kind: EventKind[EventModel],
        device_api: DeviceApi,
        observe: Callable[[int, float], None],
        flushed: FlushObserver = lambda *_: None,
        spans: Spans | None = None,
    ) -> None:
        """`observe` is called after each successful flush, with its number of events and its duration in seconds, and
        `flushed` after every one. `spans` traces flushes and batches.
        """
        self._spans = spans or NoSpans()
        self._kind = kind
        self._device_api = device_api
        self._observe = observe
        self._retries = RetryBudget()
        self.coalescer: Coalescer[AcceptedEvent, Recorded] = Coalescer(
            self._flush,
            Limits(FORWARD_ROWS_MAX, _QUEUE_ROWS_MAX, REMAINING_SECONDS_MIN),
            observe=flushed,
        )

    async def forward(self, event: AcceptedEvent) -> Recorded:
        """Forward an event. Returns after COMMIT; that of the inbox, if the event is deferrable.

        Raises:
            IdempotencyKeyReused: the key of the event was used before with another body.
            Gone: the event was recorded under its key before, and was erased; or what it names was.
            NotFound, Suppressed: the event names something that is not there, or of which nothing may be recorded.
            Invalid: a constraint of the database refused the event.
            NotRecorded, OutcomeUnknown: see these classes.
        """
        return await self.coalescer.submit(event, time.monotonic() + EVENT_SECONDS_MAX)

    def begin(self, event: AcceptedEvent) -> "asyncio.Future[Recorded]":
        """As `forward`, but returns a future, for a caller that waits for several outcomes."""
        return self.coalescer.begin(event, time.monotonic() + EVENT_SECONDS_MAX)

    async def forward_batch(self, batch: AcceptedBatch, request_id: str) -> RecordedBatch:
        """Forward a batch. Returns after COMMIT. Raises as `forward`."""
        deadline = time.monotonic() + BATCH_SECONDS_MAX
        body = encode_batch(self._kind, batch)

        with self._spans.of_request(f"forward a batch of {self._kind.name}", {}, request_id) as span:

            async def send(_: Sequence[AcceptedBatch]) -> Sequence[RecordedBatch | DomainError]:
                return [await self._post("batch", body, _recorded_batch, deadline, request_id, span.headers)]

            (outcome,) = await self._retries.send([batch], send, deadline)
            if isinstance(outcome, DomainError):
                raise outcome
            return outcome

    async def close(self, seconds_max: float) -> None:
        """Forward the waiting events, then fail those that are left."""
        await self.coalescer.close(seconds_max)

    async def _flush(self, events: Sequence[AcceptedEvent], deadline: float) -> Sequence[Recorded | DomainError]:
        name, attributes = f"forward {self._kind.name}", {EVENTS: len(events)}
        with self._spans.of_flush(name, attributes, (each.request_id for each in events)) as span:

            async def send(pending: Sequence[AcceptedEvent]) -> Sequence[Recorded | DomainError]:
                body = encode_forward(self._kind, pending)
                understand = partial(_by_position, events=len(pending))
                return await self._post("forward", body, understand, deadline, pending[0].request_id, span.headers)

            begun = time.monotonic()
            outcomes = await self._retries.send(events, send, deadline)
            failure = next((each for each in outcomes if isinstance(each, NotRecorded | OutcomeUnknown)), None)
            if failure is None:
                self._observe(len(events), time.monotonic() - begun)
            else:
                span.fail(failure.code)
            return outcomes

    async def _post(
        self,
        what: str,
        body: bytes,
        understand: Callable[[bytes], Understood],
        deadline: float,
        request_id: str,
        headers: Mapping[str, str],
    ) -> Understood:
        try:
            response = await self._device_api.post(
                f"/events/{self._kind.name}/{what}", body, deadline=deadline, request_id=request_id, headers=headers
            )
            return understand(response)
        except Invalid as error:
            # Every event was validated here, so this is our error and not the client's.
            _log.exception("the private service refused a %s whole", what)
            raise NotRecorded("this cannot be recorded right now; nothing was stored") from error
        except ValidationError as error:
            raise OutcomeUnknown("the private service's response cannot be understood") from error


def _by_position(content: bytes, events: int) -> list[Recorded | DomainError]:
    """Return one outcome for each event, in order; an event that is not among the exceptions was recorded."""
    head, *lines = content.split(b"\n")
    response = ForwardResponse.model_validate_json(head)
    rows: Sequence[bytes | None] = [None if line == _NO_ROW else line for line in lines] or [None] * events
    positions = {each.position for each in response.exceptions}
    if (
        response.recorded + len(response.exceptions) != events
        or len(positions) != len(response.exceptions)
        or max(positions, default=-1) >= events
        or len(rows) != events
    ):
        raise OutcomeUnknown("the private service did not answer for each event once")
    outcomes: list[Recorded | DomainError] = [_RECORDED if row is None else Recorded(row) for row in rows]
    for each in response.exceptions:
        if each.status is OutcomeStatus.REPLAYED:
            outcomes[each.position] = Recorded(rows[each.position], is_replay=True)
        elif each.status is OutcomeStatus.ACCEPTED:
            outcomes[each.position] = Recorded(is_counted=False)
        else:
            outcomes[each.position] = _FAILURES[each.status](each.detail)
    return outcomes


def _recorded_batch(content: bytes) -> RecordedBatch:
    """Return the response to a batch from a contract.delivery.ForwardedBatchResponse, without parsing it.

    Parsing the results of 10,000 items into models and writing them again took 9 MB.
    """
    if content == ACCEPTED_BODY:
        return RecordedBatch(content, is_replay=False, is_counted=False)
    for end, is_replay in _ENDS_OF_BATCH_RESPONSE.items():
        if content.startswith(_BATCH_RESPONSE) and content.endswith(end):
            return RecordedBatch(content[len(_BATCH_RESPONSE) : -len(end)], is_replay)
    forwarded = ForwardedBatchResponse.model_validate_json(content)
    return RecordedBatch(forwarded.response.model_dump_json(by_alias=True).encode(), forwarded.replayed)
