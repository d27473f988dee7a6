"""The routes that statistics-api of release 0.1.0 calls. The next release removes them.

During a roll-out, processes of that release call this service. Their requests are converted to the envelopes of this
release.
"""

from typing import Annotated, Self

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from contract.auth_events.columns import AuthEventColumns, DeviceTypes
from contract.auth_events.events import DeviceType
from contract.delivery import (
    BATCH_ITEMS_MAX,
    FORWARD_EVENTS_MAX,
    Batch,
    BatchResponse,
    BatchResult,
    EventId,
    Forward,
    ForwardedBatchResponse,
    ForwardResponse,
    IdempotencyKey,
    OutcomeStatus,
    Sha256,
    validate_occurred_at,
)
from contract.projects import ProjectId
from contract.text import ValidatedText
from device_registration_api.auth_events.commands import AUTH_EVENTS
from device_registration_api.events.router import FORWARD_BYTES_MAX, read_deadline, read_envelope, writer_of
from servicekit.errors import DomainError, NotRecorded, OutcomeUnknown
from servicekit.http import deadline
from servicekit.http.bodies import read_bytes
from servicekit.http.error_responses import invalid
from servicekit.http.openapi import json_body, refusals

LARGE_BODIES = {"/Device/register/coalesced": FORWARD_BYTES_MAX, "/Device/register/batch": FORWARD_BYTES_MAX}

# The outcomes that have another name in that release.
_STATUS = {OutcomeStatus.RECORDED: "registered"}

router = APIRouter(tags=["release 0.1.0"], deprecated=True)


class Identity(BaseModel):
    """A client's own identity for what it sends."""

    model_config = ConfigDict(frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=255)]
    body_sha256: Sha256

    def key_of_now(self) -> IdempotencyKey:
        """Return the same as a key of this release."""
        return IdempotencyKey(key=self.key, fingerprint=self.body_sha256)


class Registration(BaseModel):
    """One event."""

    model_config = ConfigDict(populate_by_name=True)

    project_id: ProjectId
    event_id: EventId
    received_at: AwareDatetime
    user_key: ValidatedText
    device_type: DeviceType
    occurred_at: AwareDatetime | None = Field(default=None, alias="occurredAt")
    identity: Identity | None = None

    @model_validator(mode="after")
    def _within_the_window(self) -> Self:
        if self.occurred_at is not None:
            validate_occurred_at(self.occurred_at, self.received_at)
        return self


class CoalescedRegistrations(BaseModel):
    """Independent events of many clients that share one request."""

    registrations: Annotated[list[Registration], Field(min_length=1, max_length=FORWARD_EVENTS_MAX)]
    request_ids: list[str]

    def forward(self) -> Forward[AuthEventColumns]:
        """The same in columns. Constructed, not validated again: each part of it was."""
        events = self.registrations
        return AUTH_EVENTS.forward_model.model_construct(
            project_ids=[each.project_id for each in events],
            event_ids=[each.event_id for each in events],
            received_at=[each.received_at for each in events],
            columns=AuthEventColumns.model_construct(
                user_keys=[each.user_key for each in events], device_types=[each.device_type for each in events]
            ),
            occurred_at={
                position: each.occurred_at for position, each in enumerate(events) if each.occurred_at is not None
            },
            keys={
                position: each.identity.key_of_now()
                for position, each in enumerate(events)
                if each.identity is not None
            },
            request_ids=self.request_ids,
        )


class IndexedOutcome(BaseModel):
    """The outcome of the event at `index`."""

    status: str
    detail: str
    index: int


class CoalescedOutcomes(BaseModel):
    """Every event that was not plainly registered; together with those that were, all of them."""

    registered: int
    others: list[IndexedOutcome]


class ForwardedBatch(BaseModel):
    """One client's batch, in columns. Whether they fit together is checked by the envelope of this release."""

    project_id: ProjectId
    batch_id: EventId
    received_at: AwareDatetime
    identity: Identity | None = None
    user_keys: Annotated[list[ValidatedText], Field(max_length=BATCH_ITEMS_MAX)]
    device_types: DeviceTypes
    occurred_at: dict[int, AwareDatetime] = {}
    identities: dict[int, Identity] = {}
    rejected: list[BatchResult]

    def batch(self) -> Batch[AuthEventColumns]:
        """The same in the words of this release.

        Raises:
            Invalid: it does not make sense.
        """
        try:
            return AUTH_EVENTS.batch_model(
                project_id=self.project_id,
                batch_id=self.batch_id,
                received_at=self.received_at,
                columns=AuthEventColumns(user_keys=self.user_keys, device_types=self.device_types),
                occurred_at=self.occurred_at,
                keys={row: identity.key_of_now() for row, identity in self.identities.items()},
                key=None if self.identity is None else self.identity.key_of_now(),
                rejected=self.rejected,
            )
        except ValidationError as error:
            raise invalid(error, "body") from None


class BatchAnswer(BaseModel):
    """The response to a batch, and whether it is the stored one."""

    answer: BatchResponse
    replayed: bool


@router.post(
    "/Device/register/coalesced",
    response_model=CoalescedOutcomes,
    summary="Record the events of many clients that share one request",
    responses=refusals(401, 413, 422, 503),
    openapi_extra=json_body(CoalescedRegistrations, headers=(deadline.HEADER,)),
)
async def register_coalesced(request: Request) -> Response:
    """Each event gets an outcome of its own, also when none is stored."""
    ends = read_deadline(request)
    sent = read_envelope(CoalescedRegistrations, await read_bytes(request))
    request.scope["log_fields"].update(events=len(sent.registrations), request_ids=sent.request_ids)
    try:
        response, _ = await writer_of(request, AUTH_EVENTS).record(sent.forward(), ends)
        answer = _outcomes(response)
    except (NotRecorded, OutcomeUnknown) as failure:
        answer = _all_failed(failure, len(sent.registrations))
    return Response(answer.model_dump_json(), media_type="application/json")


@router.post(
    "/Device/register/batch",
    response_model=BatchAnswer,
    summary="Record one client's batch in one transaction",
    responses=refusals(401, 409, 413, 422, 503),
    openapi_extra=json_body(ForwardedBatch, headers=(deadline.HEADER,)),
)
async def register_batch(request: Request) -> Response:
    """All of it or nothing; a repeat under the batch's own key gets the stored answer."""
    ends = read_deadline(request)
    sent = read_envelope(ForwardedBatch, await read_bytes(request))
    request.scope["log_fields"].update(events=len(sent.user_keys))
    response = await writer_of(request, AUTH_EVENTS).record_batch(sent.batch(), ends, request.scope["request_id"])
    assert isinstance(response, ForwardedBatchResponse)  # noqa: S101 - that release asks for nothing else
    answer = BatchAnswer(answer=response.response, replayed=response.replayed)
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")


def _outcomes(response: ForwardResponse) -> CoalescedOutcomes:
    others = [
        IndexedOutcome(index=each.position, status=_STATUS.get(each.status, str(each.status)), detail=each.detail)
        for each in response.exceptions
    ]
    return CoalescedOutcomes(registered=response.recorded, others=others)


def _all_failed(failure: DomainError, events: int) -> CoalescedOutcomes:
    is_unknown = isinstance(failure, OutcomeUnknown)
    status = OutcomeStatus.OUTCOME_UNKNOWN if is_unknown else OutcomeStatus.NOT_RECORDED
    others = [IndexedOutcome(index=index, status=str(status), detail=str(failure)) for index in range(events)]
    return CoalescedOutcomes(registered=0, others=others)
