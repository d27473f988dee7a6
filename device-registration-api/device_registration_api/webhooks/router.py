"""The routes of webhooks that statistics-api calls: for an account, which is in the query, or for a project's key."""

from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from contract.access import Rotation
from contract.administration import Creation
from contract.webhooks import (
    DELIVERIES_MAX,
    Delivery,
    Rule,
    RuleDraft,
    Stream,
    StreamDraft,
    Webhook,
    WebhookChange,
    WebhookDraft,
    WebhookWithSecret,
)
from device_registration_api.access.creations import Created, Representation, create_once
from device_registration_api.access.requests import created_response, json_response, managing, read_body
from device_registration_api.exports.pages import start
from device_registration_api.exports.position import Position, read_position
from device_registration_api.exports.router import Exports
from device_registration_api.personal.keeper import Keeper
from device_registration_api.webhooks import commands, deliveries
from device_registration_api.webhooks.deliveries import TEST, Message
from device_registration_api.webhooks.secrets import create_secret, rotate_secret
from servicekit.database import Connection
from servicekit.errors import NotConfigured
from servicekit.http import deadline
from servicekit.http.openapi import json_body, refusals
from servicekit.process import clock

SHOWN_ONCE = "Keep this secret now: it is stored encrypted, and is not shown again."
_REPEATED = "The secret was shown in the first response to this idempotency key. If it is lost, rotate it."
_HEADERS = (deadline.HEADER,)
_REFUSALS = refusals(401, 403, 404, 409, 413, 422, 503, as_problem=True)
_WEBHOOKS = TypeAdapter(list[Webhook])
_DELIVERIES = TypeAdapter(list[Delivery])
_ONE = "/{webhook_id}"

router = APIRouter(prefix="/administration/projects/{project_key}/webhooks", tags=["webhooks"])


@router.get("", response_model=list[Webhook], summary="The webhooks of a project", responses=_REFUSALS)
async def list_webhooks(request: Request, project_key: str, account_id: UUID | None = None) -> Response:
    """The oldest first."""
    found = await managing(request, project_key, account_id, commands.list_webhooks)
    return json_response(_WEBHOOKS.dump_json(found).decode())


@router.post(
    "",
    status_code=201,
    response_model=WebhookWithSecret,
    summary="Create a webhook",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[WebhookDraft], headers=_HEADERS),
)
async def create_webhook(request: Request, project_key: str, account_id: UUID | None = None) -> Response:
    """The secret is in this response only."""
    keeper = keeper_of(request)
    wanted = await read_body(request, Creation[WebhookDraft])

    def work(conn: Connection, project_id: int) -> Created:
        def create() -> Representation:
            made = commands.create_webhook(conn, project_id, wanted.draft)
            return _shown_once(made, create_secret(conn, keeper, project_id, made.id, clock.now()))

        return create_once(conn, project_id, "webhooks", wanted.idempotency_key, create)

    return created_response(await managing(request, project_key, account_id, work))


@router.get(_ONE, response_model=Webhook, summary="One webhook", responses=_REFUSALS)
async def read_webhook(
    request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None
) -> Response:
    """Without its secret."""
    work = partial(commands.read_webhook, webhook_id=webhook_id)
    return json_response((await managing(request, project_key, account_id, work)).model_dump_json())


@router.patch(
    _ONE,
    response_model=Webhook,
    summary="Change the fields of a webhook that are in the body",
    responses=_REFUSALS,
    openapi_extra=json_body(WebhookChange, headers=_HEADERS),
)
async def change_webhook(
    request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None
) -> Response:
    """An inactive one evaluates nothing and sends nothing."""
    work = partial(commands.change_webhook, webhook_id=webhook_id, change=await read_body(request, WebhookChange))
    return json_response((await managing(request, project_key, account_id, work)).model_dump_json())


@router.delete(_ONE, status_code=204, summary="Delete a webhook", responses=_REFUSALS)
async def delete_webhook(
    request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None
) -> Response:
    """With its rules and its log."""
    await managing(request, project_key, account_id, partial(commands.delete_webhook, webhook_id=webhook_id))
    return Response(status_code=204)


@router.post(
    f"{_ONE}/rotate",
    status_code=201,
    response_model=WebhookWithSecret,
    summary="Replace the secret of a webhook",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[Rotation], headers=_HEADERS),
)
async def rotate(request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None) -> Response:
    """Until the overlap is over, both sign."""
    keeper = keeper_of(request)
    wanted = await read_body(request, Creation[Rotation])
    overlap = timedelta(seconds=wanted.draft.overlap_seconds)

    def work(conn: Connection, project_id: int) -> Created:
        def create() -> Representation:
            found = commands.read_webhook(conn, project_id, webhook_id)
            return _shown_once(found, rotate_secret(conn, keeper, project_id, webhook_id, clock.now(), overlap))

        return create_once(conn, project_id, "webhooks/rotation", wanted.idempotency_key, create)

    return created_response(await managing(request, project_key, account_id, work))


@router.post(
    f"{_ONE}/rules",
    status_code=201,
    response_model=Rule,
    summary="Add a rule to a webhook",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[RuleDraft], headers=_HEADERS),
)
async def add_rule(request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None) -> Response:
    """It is evaluated once a minute."""
    wanted = await read_body(request, Creation[RuleDraft])

    def work(conn: Connection, project_id: int) -> Created:
        def create() -> Representation:
            text = commands.add_rule(conn, project_id, webhook_id, wanted.draft).model_dump_json()
            return Representation(text, text)

        return create_once(conn, project_id, "webhooks/rules", wanted.idempotency_key, create)

    return created_response(await managing(request, project_key, account_id, work))


@router.delete(f"{_ONE}/rules/{{rule_id}}", status_code=204, summary="Delete a rule", responses=_REFUSALS)
async def delete_rule(
    request: Request, project_key: str, webhook_id: UUID, rule_id: UUID, account_id: UUID | None = None
) -> Response:
    """Its deliveries stay."""
    work = partial(commands.delete_rule, webhook_id=webhook_id, rule_id=rule_id)
    await managing(request, project_key, account_id, work)
    return Response(status_code=204)


@router.post(
    f"{_ONE}/streams",
    status_code=201,
    response_model=Stream,
    summary="Send events as they are to a webhook",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[StreamDraft], headers=_HEADERS),
)
async def add_stream(request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None) -> Response:
    """In the order of their transactions."""
    wanted = await read_body(request, Creation[StreamDraft])
    draft = wanted.draft
    exports: Exports = request.state.exports

    def work(conn: Connection, project_id: int) -> Created:
        def begins() -> Position:
            if draft.cursor is not None:
                return read_position(draft.cursor, draft.kind, project_id, "body")
            return start(lambda: nullcontext(conn), exports.tables[draft.kind], project_id, draft.received_from)

        def create() -> Representation:
            text = commands.add_stream(conn, project_id, webhook_id, draft, begins).model_dump_json()
            return Representation(text, text)

        return create_once(conn, project_id, "webhooks/streams", wanted.idempotency_key, create)

    return created_response(await managing(request, project_key, account_id, work))


@router.delete(f"{_ONE}/streams/{{kind}}", status_code=204, summary="End a stream", responses=_REFUSALS)
async def delete_stream(
    request: Request, project_key: str, webhook_id: UUID, kind: str, account_id: UUID | None = None
) -> Response:
    """A batch that is under way may still arrive."""
    work = partial(commands.delete_stream, webhook_id=webhook_id, kind=kind)
    await managing(request, project_key, account_id, work)
    return Response(status_code=204)


@router.post(f"{_ONE}/test", status_code=201, response_model=Delivery, summary="Send a test", responses=_REFUSALS)
async def send_test(request: Request, project_key: str, webhook_id: UUID, account_id: UUID | None = None) -> Response:
    """A delivery as any other one."""

    def work(conn: Connection, project_id: int) -> Delivery:
        made = deliveries.store_delivery(conn, project_id, project_key, webhook_id, Message(TEST, {}), clock.now())
        return deliveries.read_delivery(conn, project_id, webhook_id, made)

    sent = await managing(request, project_key, account_id, work)
    return json_response(sent.model_dump_json(), status=201)


@router.get(f"{_ONE}/deliveries", response_model=list[Delivery], summary="The log of a webhook", responses=_REFUSALS)
async def list_deliveries(
    request: Request,
    project_key: str,
    webhook_id: UUID,
    account_id: UUID | None = None,
    before: int | None = None,
    limit: Annotated[int, Query(ge=1, le=DELIVERIES_MAX)] = DELIVERIES_MAX,
) -> Response:
    """The newest first, or those before a sequence number."""

    def work(conn: Connection, project_id: int) -> list[Delivery]:
        commands.read_webhook(conn, project_id, webhook_id)
        return deliveries.list_deliveries(conn, project_id, webhook_id, before=before, limit=limit)

    found = await managing(request, project_key, account_id, work)
    return json_response(_DELIVERIES.dump_json(found).decode())


@router.get(f"{_ONE}/deliveries/{{delivery_id}}", response_model=Delivery, summary="One delivery", responses=_REFUSALS)
async def read_delivery(
    request: Request, project_key: str, webhook_id: UUID, delivery_id: UUID, account_id: UUID | None = None
) -> Response:
    """With its attempts."""
    work = partial(deliveries.read_delivery, webhook_id=webhook_id, delivery_id=delivery_id)
    return json_response((await managing(request, project_key, account_id, work)).model_dump_json())


@router.post(
    f"{_ONE}/deliveries/{{delivery_id}}/redeliver",
    response_model=Delivery,
    summary="Send a delivery again",
    responses=_REFUSALS,
)
async def redeliver(
    request: Request, project_key: str, webhook_id: UUID, delivery_id: UUID, account_id: UUID | None = None
) -> Response:
    """With the same id, and before later ones."""
    work = partial(deliveries.redeliver, webhook_id=webhook_id, delivery_id=delivery_id, now=clock.now())
    return json_response((await managing(request, project_key, account_id, work)).model_dump_json())


def keeper_of(request: Request) -> Keeper:
    """Return what seals secrets. Raises NotConfigured."""
    keeper: Keeper | None = request.state.keeper
    if keeper is None:
        raise NotConfigured("webhooks need PERSONAL_KEKS, which is not set in this installation")
    return keeper


def _shown_once(webhook: Webhook, secret: str) -> Representation:
    made = WebhookWithSecret(**webhook.model_dump(), secret=secret, warning=SHOWN_ONCE)
    repeated = made.model_copy(update={"secret": None, "warning": _REPEATED})
    return Representation(made.model_dump_json(), repeated.model_dump_json())
