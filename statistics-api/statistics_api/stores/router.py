"""The public routes by which an operator of the installation administers stores."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, TypeAdapter

from contract.administration import Creation
from contract.stores import DeletedStore, Store, StoreChoice, StoreDraft, StoreMessage, StoreState, StoreWithKey
from servicekit.http.bodies import KEY_HEADER, read_idempotency_key, read_json, validated
from servicekit.http.openapi import json_body, refusals
from statistics_api.access.documentation import OPERATOR_TOKEN, STORE_ID
from statistics_api.access.tokens import Account, operator_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED, identity_of, relayed
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.pages import PAGE_PARAMETERS, read_page
from statistics_api.stores.ids import read_store_id
from statistics_api.stores.reader import StoresReader

NAME = "stores"

_REFUSALS = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
_STORES = TypeAdapter(list[Store])

router = APIRouter(prefix="/api/store", tags=["stores"])


@router.get(
    "",
    response_model=list[Store],
    summary="The stores of the installation",
    responses=refusals(401, 403, 422, 429, 503, as_problem=True),
    openapi_extra=OPERATOR_TOKEN | {"parameters": list(PAGE_PARAMETERS)},
)
async def list_stores(request: Request) -> Response:
    """The oldest first. Every project is a store."""
    await operator_of(request)
    reader: StoresReader = request.state.readers[NAME]
    found = await reader.stores(read_page(request.query_params))
    return Response(_STORES.dump_json(found), headers=NOT_STORED, media_type="application/json")


@router.post(
    "",
    status_code=201,
    response_model=StoreWithKey,
    summary="Create a store",
    responses=_REFUSALS | {201: {"headers": REPLAYED_HEADER}},
    openapi_extra=OPERATOR_TOKEN | json_body(StoreDraft, headers=(KEY_HEADER,)),
)
async def create_store(request: Request) -> Response:
    """It is a project that no account owns. Its key may record, read and manage, and never expires; it is shown in this
    response only: a repeat with the same `Idempotency-Key` has null. `create-key` and `rotate-key` make others.
    """
    operator = await operator_of(request)
    key = read_idempotency_key(request)
    draft = validated(StoreDraft, await read_json(request), "body")
    creation = Creation[StoreDraft](draft=draft)
    if key is not None:
        creation = Creation[StoreDraft](draft=draft, idempotency_key=identity_of(key, draft, ("stores",)))
    return relayed(await call(request, "POST", "stores", body=creation, query=_by(operator)))


@router.post(
    "/block",
    status_code=201,
    response_model=StoreMessage,
    summary="Block a store",
    responses=_REFUSALS,
    openapi_extra=OPERATOR_TOKEN | json_body(StoreChoice),
)
async def block_store(request: Request) -> Response:
    """Its keys and tokens are refused with 401, within 30 seconds everywhere, and a log-in with 403. A repeat changes
    nothing.
    """
    return await _set_active(request, is_active=False)


@router.post(
    "/unblock",
    status_code=201,
    response_model=StoreMessage,
    summary="Unblock a store",
    responses=_REFUSALS,
    openapi_extra=OPERATOR_TOKEN | json_body(StoreChoice),
)
async def unblock_store(request: Request) -> Response:
    """Its keys are valid again. A repeat changes nothing."""
    return await _set_active(request, is_active=True)


@router.delete(
    "/{store_id}",
    response_model=DeletedStore,
    summary="Delete a store",
    responses=_REFUSALS,
    openapi_extra=OPERATOR_TOKEN | {"parameters": [STORE_ID]},
)
async def delete_store(request: Request) -> Response:
    """At once for everyone: its keys are refused. Its rows are removed in the background, and the answer says how many
    users and events it had. The default project is a 409.
    """
    operator = await operator_of(request)
    store_id = read_store_id(request.path_params["store_id"])
    return relayed(await call(request, "DELETE", "stores", str(store_id), query=_by(operator)))


async def _set_active(request: Request, *, is_active: bool) -> Response:
    operator = await operator_of(request)
    chosen = validated(StoreChoice, await read_json(request), "body")
    state: BaseModel = StoreState(is_active=is_active)
    await call(request, "PUT", "stores", str(chosen.store_id), "state", body=state, query=_by(operator))
    message = StoreMessage(message=f"Store successfully {'unblocked' if is_active else 'blocked'}")
    return Response(message.model_dump_json(), HTTPStatus.CREATED, media_type="application/json")


def _by(operator: Account) -> dict[str, str]:
    return {"account_id": str(operator.account_id)}
