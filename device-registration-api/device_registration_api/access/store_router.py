"""The routes for stores that statistics-api calls for an operator of the installation."""

from uuid import UUID

from fastapi import APIRouter, Request, Response

from contract.administration import Creation
from contract.projects import DEFAULT_PROJECT_ID
from contract.stores import DeletedStore, StoreDraft, StoreState, StoreWithKey
from device_registration_api.access import stores
from device_registration_api.access.creations import Created, Representation, create_once
from device_registration_api.access.requests import created_response, in_transaction, json_response, read_body
from device_registration_api.accounts.router import accounts_of
from device_registration_api.events.router import read_deadline
from servicekit.database import Connection
from servicekit.errors import Forbidden, NotFound
from servicekit.http import deadline
from servicekit.http.openapi import json_body, refusals

_HEADERS = (deadline.HEADER,)
_REFUSALS = refusals(401, 403, 404, 409, 413, 422, 503, as_problem=True)

router = APIRouter(prefix="/administration/stores", tags=["administration"])


@router.post(
    "",
    status_code=201,
    response_model=StoreWithKey,
    summary="Create a store with a key",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[StoreDraft], headers=_HEADERS),
)
async def create_store(request: Request, account_id: UUID) -> Response:
    """The key is shown in this response only."""
    await check_operator(request, account_id)
    wanted = await read_body(request, Creation[StoreDraft])
    active_max: int = request.state.api_keys_max

    def work(conn: Connection) -> Created:
        def create() -> Representation:
            store = stores.create_store(conn, wanted.draft, active_max=active_max)
            repeated = store.model_copy(update={"api_key": None})
            return Representation(store.model_dump_json(), repeated.model_dump_json())

        # There is no project yet, so the key belongs to the account.
        return create_once(conn, DEFAULT_PROJECT_ID, f"stores/{account_id}", wanted.idempotency_key, create)

    return created_response(await in_transaction(request, work))


@router.put(
    "/{store_id}/state",
    status_code=204,
    summary="Block or unblock a store",
    responses=_REFUSALS,
    openapi_extra=json_body(StoreState, headers=_HEADERS),
)
async def set_state(request: Request, store_id: int, account_id: UUID) -> Response:
    """A repeat changes nothing."""
    await check_operator(request, account_id)
    state = await read_body(request, StoreState)
    await in_transaction(request, lambda conn: stores.set_active(conn, store_id, is_active=state.is_active))
    return Response(status_code=204)


@router.delete("/{store_id}", response_model=DeletedStore, summary="Delete a store", responses=_REFUSALS)
async def delete_store(request: Request, store_id: int, account_id: UUID) -> Response:
    """`maintain` removes the rows."""
    await check_operator(request, account_id)
    deleted = await in_transaction(request, lambda conn: stores.delete_store(conn, store_id))
    return json_response(deleted.model_dump_json())


async def check_operator(request: Request, account_id: UUID) -> None:
    """Check that an account is an operator's now: what statistics-api knows may be half a minute old.

    Raises:
        Forbidden: it is not.
    """
    try:
        state = await accounts_of(request).state(account_id, read_deadline(request))
    except NotFound:
        state = None
    if state is None or not (state.is_active and state.is_operator):
        raise Forbidden("only an operator of the installation may do this")
