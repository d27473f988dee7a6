"""The public routes of webhooks: for an owner's token, or an API key of the project that may manage."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field

from contract.access import Rotation
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
from servicekit.http.bodies import KEY_HEADER
from servicekit.http.openapi import Schema, json_body, query, refusals
from servicekit.http.query_parameters import read_number
from statistics_api.access.documentation import project_manager
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.projects.managing import ask_managing, change_managing, create_managing

_READS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_CHANGES = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
_CREATED: dict[int | str, Schema] = {201: {"headers": REPLAYED_HEADER}}
_SEQUENCE_MAX = 2**53 - 1
_ONE = "/{webhook_id}"
_ROTATION_BODY = json_body(Rotation, headers=(KEY_HEADER,))
_ROTATION_BODY["requestBody"]["required"] = False

router = APIRouter(prefix="/api/v1/projects/{project_key}/webhooks", tags=["webhooks"])


@router.get(
    "",
    response_model=list[Webhook],
    summary="The webhooks of a project",
    responses=_READS,
    openapi_extra=project_manager(),
)
async def list_webhooks(request: Request, project_key: str) -> Response:
    """With their rules, the oldest first; without their secrets."""
    return await ask_managing(request, "GET", project_key, "webhooks")


@router.post(
    "",
    status_code=201,
    response_model=WebhookWithSecret,
    summary="Create a webhook",
    responses=_CHANGES | _CREATED,
    openapi_extra=project_manager() | json_body(WebhookDraft, headers=(KEY_HEADER,)),
)
async def create_webhook(request: Request, project_key: str) -> Response:
    """The secret, which signs what is sent, is in this response only: a repeat with the same `Idempotency-Key` has
    null.
    """
    return await create_managing(request, WebhookDraft, project_key, "webhooks")


@router.get(_ONE, response_model=Webhook, summary="One webhook", responses=_READS, openapi_extra=project_manager())
async def read_webhook(request: Request, project_key: str, webhook_id: str) -> Response:
    """With its rules, and without its secret."""
    return await ask_managing(request, "GET", project_key, "webhooks", webhook_id)


@router.patch(
    _ONE,
    response_model=Webhook,
    summary="Change a webhook",
    responses=_CHANGES,
    openapi_extra=project_manager() | json_body(WebhookChange),
)
async def change_webhook(request: Request, project_key: str, webhook_id: str) -> Response:
    """A field that is absent stays. With `is_active` false, no rule is evaluated and nothing is sent; pending
    deliveries wait.
    """
    return await change_managing(request, WebhookChange, project_key, "webhooks", webhook_id)


@router.delete(_ONE, status_code=204, summary="Delete a webhook", responses=_CHANGES, openapi_extra=project_manager())
async def delete_webhook(request: Request, project_key: str, webhook_id: str) -> Response:
    """With its rules and its log. An attempt that is under way is finished."""
    return await ask_managing(request, "DELETE", project_key, "webhooks", webhook_id)


@router.post(
    f"{_ONE}/rotate",
    status_code=201,
    response_model=WebhookWithSecret,
    summary="Replace the secret of a webhook",
    responses=_CHANGES | _CREATED,
    openapi_extra=project_manager() | _ROTATION_BODY,
)
async def rotate_secret(request: Request, project_key: str, webhook_id: str) -> Response:
    """For the overlap, a day by default, everything has two signatures, by the new secret and by the old one. With 0
    the old one ends at once. A secret that was in its overlap already ends at once, too.
    """
    return await create_managing(request, Rotation, project_key, "webhooks", webhook_id, "rotate")


@router.post(
    f"{_ONE}/rules",
    status_code=201,
    response_model=Rule,
    summary="Add a rule to a webhook",
    responses=_CHANGES | _CREATED,
    openapi_extra=project_manager() | json_body(RuleDraft, headers=(KEY_HEADER,)),
)
async def add_rule(request: Request, project_key: str, webhook_id: str) -> Response:
    """It is evaluated once a minute, over the last `window_minutes`. When it starts to hold there is one delivery
    `rule.started`, and when it ends one `rule.resolved`. `below` and `silent` begin a window after their creation. A
    rule does not change: delete it, and add another one.
    """
    return await create_managing(request, RuleDraft, project_key, "webhooks", webhook_id, "rules")


@router.delete(
    f"{_ONE}/rules/{{rule_id}}",
    status_code=204,
    summary="Delete a rule",
    responses=_CHANGES,
    openapi_extra=project_manager(),
)
async def delete_rule(request: Request, project_key: str, webhook_id: str, rule_id: str) -> Response:
    """Its deliveries stay in the log, and pending ones are sent."""
    return await ask_managing(request, "DELETE", project_key, "webhooks", webhook_id, "rules", rule_id)


@router.post(
    f"{_ONE}/streams",
    status_code=201,
    response_model=Stream,
    summary="Send all events of a kind to a webhook",
    responses=_CHANGES | _CREATED,
    openapi_extra=project_manager() | json_body(StreamDraft, headers=(KEY_HEADER,)),
)
async def add_stream(request: Request, project_key: str, webhook_id: str) -> Response:
    """The webhook is sent batches `events.batch` of events, as an export has them, in its order: all from the
    beginning, or from a checkpoint or a time on. The next batch is sent when the last was received, and a batch is
    repeated until it is. A webhook has one stream of each kind.
    """
    return await create_managing(request, StreamDraft, project_key, "webhooks", webhook_id, "streams")


@router.delete(
    f"{_ONE}/streams/{{kind}}",
    status_code=204,
    summary="End a stream",
    responses=_CHANGES,
    openapi_extra=project_manager(),
)
async def delete_stream(request: Request, project_key: str, webhook_id: str, kind: str) -> Response:
    """A batch that is under way may still arrive."""
    return await ask_managing(request, "DELETE", project_key, "webhooks", webhook_id, "streams", kind)


@router.post(
    f"{_ONE}/test",
    status_code=201,
    response_model=Delivery,
    summary="Send a test to a webhook",
    responses=_CHANGES,
    openapi_extra=project_manager(),
)
async def send_test(request: Request, project_key: str, webhook_id: str) -> Response:
    """A delivery `webhook.test`, which is sent as any other one, after those that are pending."""
    return await ask_managing(request, "POST", project_key, "webhooks", webhook_id, "test")


@router.get(
    f"{_ONE}/deliveries",
    response_model=list[Delivery],
    summary="The log of a webhook",
    responses=_READS,
    openapi_extra=project_manager()
    | {
        "parameters": [
            query("before", Annotated[int, Field(ge=1, le=_SEQUENCE_MAX)], "Those with smaller numbers.", example=1),
            query("limit", Annotated[int, Field(ge=1, le=DELIVERIES_MAX)], f"Default: {DELIVERIES_MAX}."),
        ]
    },
)
async def list_deliveries(request: Request, project_key: str, webhook_id: str) -> Response:
    """The newest first, with their attempts. Those that ended more than 30 days ago are deleted."""
    limit = read_number(request.query_params, "limit", DELIVERIES_MAX, 1, DELIVERIES_MAX)
    before = read_number(request.query_params, "before", _SEQUENCE_MAX, 1, _SEQUENCE_MAX)
    page = {"limit": str(limit), "before": str(before)}
    return await ask_managing(request, "GET", project_key, "webhooks", webhook_id, "deliveries", query=page)


@router.get(
    f"{_ONE}/deliveries/{{delivery_id}}",
    response_model=Delivery,
    summary="One delivery",
    responses=_READS,
    openapi_extra=project_manager(),
)
async def read_delivery(request: Request, project_key: str, webhook_id: str, delivery_id: str) -> Response:
    """Its `id` is the header `webhook-id` of every attempt."""
    return await ask_managing(request, "GET", project_key, "webhooks", webhook_id, "deliveries", delivery_id)


@router.post(
    f"{_ONE}/deliveries/{{delivery_id}}/redeliver",
    response_model=Delivery,
    summary="Send a delivery again",
    responses=_CHANGES,
    openapi_extra=project_manager(),
)
async def redeliver(request: Request, project_key: str, webhook_id: str, delivery_id: str) -> Response:
    """At once, with the same id and the same body, and before later ones; for a pending one it is the next attempt."""
    return await ask_managing(
        request, "POST", project_key, "webhooks", webhook_id, "deliveries", delivery_id, "redeliver"
    )
