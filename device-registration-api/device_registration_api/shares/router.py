"""The routes of shares that statistics-api calls: for an account, which is in the query, or for a project's key."""

from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import TypeAdapter

from contract.administration import Creation
from contract.shares import Share, ShareDraft, ShareWithToken
from device_registration_api.access.creations import Created, Representation, create_once
from device_registration_api.access.requests import created_response, json_response, managing, read_body
from device_registration_api.shares import commands
from servicekit.database import Connection
from servicekit.http import deadline
from servicekit.http.openapi import json_body, refusals
from servicekit.process import clock

_REPEATED = "The token was shown in the first response to this idempotency key. If it is lost, make another share."
_HEADERS = (deadline.HEADER,)
_REFUSALS = refusals(401, 403, 404, 409, 413, 422, 503, as_problem=True)
_SHARES = TypeAdapter(list[Share])

router = APIRouter(prefix="/administration/projects/{project_key}/shares", tags=["shares"])


@router.get("", response_model=list[Share], summary="The shares of a project", responses=_REFUSALS)
async def list_shares(request: Request, project_key: str, account_id: UUID | None = None) -> Response:
    """The oldest first."""
    found = await managing(request, project_key, account_id, commands.list_shares)
    return json_response(_SHARES.dump_json(found).decode())


@router.post(
    "",
    status_code=201,
    response_model=ShareWithToken,
    summary="Share a view",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[ShareDraft], headers=_HEADERS),
)
async def create_share(request: Request, project_key: str, account_id: UUID | None = None) -> Response:
    """The token is in this response only."""
    wanted = await read_body(request, Creation[ShareDraft])

    def work(conn: Connection, project_id: int) -> Created:
        def create() -> Representation:
            made = commands.create_share(conn, project_id, wanted.draft, clock.now())
            repeated = made.model_copy(update={"token": None, "path": None, "warning": _REPEATED})
            return Representation(made.model_dump_json(), repeated.model_dump_json())

        return create_once(conn, project_id, "shares", wanted.idempotency_key, create)

    return created_response(await managing(request, project_key, account_id, work))


@router.delete("/{share_id}", status_code=204, summary="End a share", responses=_REFUSALS)
async def delete_share(request: Request, project_key: str, share_id: UUID, account_id: UUID | None = None) -> Response:
    """Everywhere at once."""
    await managing(request, project_key, account_id, partial(commands.delete_share, share_id=share_id))
    return Response(status_code=204)
