"""Forwards auth events to the private service, and decides nothing."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from contract.registrations import (
    CoalescedOutcomes,
    CoalescedRegistrations,
    ForwardedBatch,
    ForwardedBatchResponse,
    Outcome,
    OutcomeStatus,
    Registration,
)
from servicekit.concurrency.coalescer import Coalescer
from servicekit.concurrency.retries import RetryBudget
from servicekit.errors import DomainError, IdempotencyKeyReused, Invalid, NotRecorded, OutcomeUnknown
from statistics_api.delivery.device_api import DeviceApi

# How long a client waits for an event or a batch at the most, in seconds.
EVENT_SECONDS_MAX = 6.0
BATCH_SECONDS_MAX = 10.0
_FORWARD_ROWS_MAX = 1_000
_QUEUE_ROWS_MAX = 4_000
# With less time left than this, an event is refused rather than sent.
REMAINING_SECONDS_MIN = 1.0

_FAILURES: dict[OutcomeStatus, type[DomainError]] = {
    OutcomeStatus.CONFLICT: IdempotencyKeyReused,
    OutcomeStatus.NOT_RECORDED: NotRecorded,
    OutcomeStatus.OUTCOME_UNKNOWN: OutcomeUnknown,
}


class _Item(NamedTuple):
    registration: Registration
    request_id: str


class Gateway:
    """One per process: it holds the coalescer that lets one request carry many events."""

    def __init__(self, device_api: DeviceApi, observe: Callable[[int, float], None]) -> None:
        """`observe` is told of each flush that succeeded: how many events it carried, and its seconds."""
        self._device_api = device_api
        self._observe = observe
        self._retries = RetryBudget()
        self._coalescer: Coalescer[_Item, bool] = Coalescer(
            self._flush,
            batch_rows_max=_FORWARD_ROWS_MAX,
            queue_rows_max=_QUEUE_ROWS_MAX,
            remaining_seconds_min=REMAINING_SECONDS_MIN,
        )

    async def register(self, registration: Registration, request_id: str) -> bool:
        """Returns after COMMIT: whether it is a replay of an earlier request.

        Raises:
            IdempotencyKeyReused: its idempotency key was used before with another body.
            Invalid: the database's own rules refused it.
            NotRecorded, OutcomeUnknown: see there.
        """
        return await self._coalescer.submit(_Item(registration, request_id), time.monotonic() + EVENT_SECONDS_MAX)

    async def register_batch(self, batch: ForwardedBatch, request_id: str) -> ForwardedBatchResponse:
        """Returns after COMMIT. Raises as `register`."""
        deadline = time.monotonic() + BATCH_SECONDS_MAX
        body = batch.model_dump_json().encode()

        async def send(_: Sequence[ForwardedBatch]) -> Sequence[ForwardedBatchResponse | DomainError]:
            reply = await self._device_api.post(
                "/Device/register/batch", body, deadline=deadline, request_id=request_id
            )
            return [ForwardedBatchResponse.model_validate_json(reply)]

        (outcome,) = await self._retries.send([batch], send, deadline)
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    async def close(self, seconds_max: float) -> None:
        """Forward what waits, then answer the rest."""
        await self._coalescer.close(seconds_max)

    async def _flush(self, items: Sequence[_Item], deadline: float) -> Sequence[bool | DomainError]:
        async def send(pending: Sequence[_Item]) -> Sequence[bool | DomainError]:
            forward = CoalescedRegistrations.model_construct(
                registrations=[item.registration for item in pending],
                request_ids=[item.request_id for item in pending],
            )
            reply = await self._device_api.post(
                "/Device/register/coalesced",
                forward.model_dump_json(exclude_none=True).encode(),
                deadline=deadline,
                request_id=pending[0].request_id,
            )
            return _by_item(CoalescedOutcomes.model_validate_json(reply), len(pending))

        begun = time.monotonic()
        outcomes = await self._retries.send(items, send, deadline)
        if not any(isinstance(each, NotRecorded | OutcomeUnknown) for each in outcomes):
            self._observe(len(items), time.monotonic() - begun)
        return outcomes


def _by_item(outcomes: CoalescedOutcomes, items: int) -> list[bool | DomainError]:
    if outcomes.registered + len(outcomes.others) != items:
        raise OutcomeUnknown("the private service did not answer for every event")
    by_item: list[bool | DomainError] = [False] * items
    for other in outcomes.others:
        by_item[other.index] = _replayed_or_failure(other)
    return by_item


def _replayed_or_failure(outcome: Outcome) -> bool | DomainError:
    if outcome.status is OutcomeStatus.REPLAYED:
        return True
    if outcome.status is OutcomeStatus.REFUSED:
        return Invalid.single(outcome.detail)
    return _FAILURES[outcome.status](outcome.detail)
