"""The routes for projects, members and API keys that statistics-api calls for an account.

The account is in the query: statistics-api has checked its token. What the account may do is checked here, in the
transaction of the change.
"""

from datetime import timedelta
from functools import partial
from uuid import UUID

from fastapi import APIRouter, Request, Response

from contract.access import ApiKey, ApiKeyChange, ApiKeyDraft, ApiKeyWithSecret, KeyUses, Rotation
from contract.administration import Creation
from contract.projects import DEFAULT_PROJECT_ID, Member, MemberDraft, Project, ProjectChange, ProjectDraft
from contract.tokens import ProjectLogin, ProjectToken
from device_registration_api.access import keys, logins, members, projects, usage
from device_registration_api.access.authorization import lock_project
from device_registration_api.access.creations import Created, Representation, create_once
from device_registration_api.access.requests import created_response, in_transaction, json_response, read_body
from device_registration_api.accounts.router import accounts_of
from device_registration_api.events.router import read_deadline
from servicekit.database import Connection
from servicekit.http import deadline
from servicekit.http.bodies import fingerprint
from servicekit.http.openapi import json_body, refusals
from servicekit.process import clock

# A report of the use of 10,000 keys.
LARGE_BODIES = {"/administration/key-uses": 2 * 1024 * 1024}
_REPEATED = (
    "The key was shown in the first response to this idempotency key. If it is lost, delete it and create another."
)
_HEADERS = (deadline.HEADER,)
_REFUSALS = refusals(401, 403, 404, 409, 413, 422, 503, as_problem=True)

router = APIRouter(prefix="/administration", tags=["administration"])


@router.post(
    "/projects",
    status_code=201,
    response_model=Project,
    summary="Create a project",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[ProjectDraft], headers=_HEADERS),
)
async def create_project(request: Request, account_id: UUID) -> Response:
    """The account becomes its owner."""
    wanted = await read_body(request, Creation[ProjectDraft])

    def work(conn: Connection) -> Created:
        def create() -> Representation:
            text = projects.create_project(conn, wanted.draft, account_id).model_dump_json()
            return Representation(text, text)

        # There is no project yet, so the key belongs to the account.
        return create_once(conn, DEFAULT_PROJECT_ID, f"projects/{account_id}", wanted.idempotency_key, create)

    return created_response(await in_transaction(request, work))


@router.patch(
    "/projects/{project_key}",
    response_model=Project,
    summary="Change the fields of a project that are in the body",
    responses=_REFUSALS,
    openapi_extra=json_body(ProjectChange, headers=_HEADERS),
)
async def change_project(request: Request, project_key: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    change = await read_body(request, ProjectChange)
    changed = await in_transaction(request, lambda conn: projects.change_project(conn, project_key, change, account_id))
    return json_response(changed.model_dump_json())


@router.delete("/projects/{project_key}", status_code=204, summary="Delete a project", responses=_REFUSALS)
async def delete_project(request: Request, project_key: str, account_id: UUID) -> Response:
    """Only an owner may do this. `maintain` removes the rows."""
    await in_transaction(request, lambda conn: projects.delete_project(conn, project_key, account_id))
    return Response(status_code=204)


@router.post(
    "/projects/{project_key}/members",
    status_code=201,
    response_model=Member,
    summary="Make an account a member",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[MemberDraft], headers=_HEADERS),
)
async def add_member(request: Request, project_key: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    wanted = await read_body(request, Creation[MemberDraft])
    # Whether an e-mail address has an account is told to owners only.
    await in_transaction(request, lambda conn: lock_project(conn, project_key, account_id))
    member_id = await accounts_of(request).find(wanted.draft.email, read_deadline(request))
    key = wanted.idempotency_key
    if key is not None:
        # Of an e-mail address not even a digest may be in this database.
        key = key.model_copy(update={"fingerprint": fingerprint([str(member_id), wanted.draft.role])})

    def work(conn: Connection) -> Created:
        project_id = lock_project(conn, project_key, account_id)

        def create() -> Representation:
            text = members.add_to_locked(conn, project_id, member_id, wanted.draft.role).model_dump_json()
            return Representation(text, text)

        return create_once(conn, project_id, "members", key, create)

    return created_response(await in_transaction(request, work))


@router.delete(
    "/projects/{project_key}/members/{member_id}", status_code=204, summary="Remove a member", responses=_REFUSALS
)
async def remove_member(request: Request, project_key: str, member_id: UUID, account_id: UUID) -> Response:
    """An owner removes anyone; a member may leave."""
    await in_transaction(request, lambda conn: members.remove_member(conn, project_key, member_id, account_id))
    return Response(status_code=204)


@router.post(
    "/projects/{project_key}/api-keys",
    status_code=201,
    response_model=ApiKeyWithSecret,
    summary="Create an API key",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[ApiKeyDraft], headers=_HEADERS),
)
async def create_key(request: Request, project_key: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    wanted = await read_body(request, Creation[ApiKeyDraft])
    active_max: int = request.state.api_keys_max

    def work(conn: Connection) -> Created:
        project_id = lock_project(conn, project_key, account_id)
        create = partial(keys.insert_key, conn, project_id, wanted.draft, active_max=active_max)
        return create_once(conn, project_id, "api-keys", wanted.idempotency_key, lambda: _shown_once(create()))

    return created_response(await in_transaction(request, work))


@router.patch(
    "/projects/{project_key}/api-keys/{key_id}",
    response_model=ApiKey,
    summary="Change the fields of an API key that are in the body",
    responses=_REFUSALS,
    openapi_extra=json_body(ApiKeyChange, headers=_HEADERS),
)
async def change_key(request: Request, project_key: str, key_id: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    change = await read_body(request, ApiKeyChange)
    active_max: int = request.state.api_keys_max
    changed = await in_transaction(
        request,
        lambda conn: keys.change_key(conn, project_key, key_id, change, account_id, active_max=active_max),
    )
    return json_response(changed.model_dump_json())


@router.delete(
    "/projects/{project_key}/api-keys/{key_id}", status_code=204, summary="Delete an API key", responses=_REFUSALS
)
async def delete_key(request: Request, project_key: str, key_id: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    await in_transaction(request, lambda conn: keys.delete_key(conn, project_key, key_id, account_id))
    return Response(status_code=204)


@router.post(
    "/projects/{project_key}/api-keys/{key_id}/rotate",
    status_code=201,
    response_model=ApiKeyWithSecret,
    summary="Replace an API key",
    responses=_REFUSALS,
    openapi_extra=json_body(Creation[Rotation], headers=_HEADERS),
)
async def rotate_key(request: Request, project_key: str, key_id: str, account_id: UUID) -> Response:
    """Only an owner may do this."""
    wanted = await read_body(request, Creation[Rotation])
    overlap = timedelta(seconds=wanted.draft.overlap_seconds)
    active_max: int = request.state.api_keys_max

    def work(conn: Connection) -> Created:
        project_id = lock_project(conn, project_key, account_id)
        rotate = partial(keys.replace_key, conn, project_id, key_id, overlap=overlap, active_max=active_max)
        return create_once(conn, project_id, "api-keys/rotation", wanted.idempotency_key, lambda: _shown_once(rotate()))

    return created_response(await in_transaction(request, work))


@router.post(
    "/key-uses",
    status_code=204,
    summary="Add up the use of API keys",
    responses=_REFUSALS,
    openapi_extra=json_body(KeyUses, headers=_HEADERS),
)
async def add_uses(request: Request) -> Response:
    """A process of statistics-api reports what it has counted since its last report. A deleted key is left out."""
    uses = await read_body(request, KeyUses)
    await in_transaction(request, lambda conn: usage.add_uses(conn, uses))
    return Response(status_code=204)


@router.post(
    "/project-logins",
    response_model=ProjectToken,
    summary="Exchange an API key for a token",
    responses=_REFUSALS,
    openapi_extra=json_body(ProjectLogin, headers=_HEADERS),
)
async def log_in(request: Request) -> Response:
    """A key that is not valid is a 401 `credentials-refused`; one of a blocked project is a 403. The key itself is
    sent, so that nobody but its owner can have a token made.
    """
    login = await read_body(request, ProjectLogin)
    accounts = accounts_of(request)
    now, secret = clock.now(), request.state.imported_key_secret
    verified = await in_transaction(request, lambda conn: logins.verify_key(conn, login.api_key, now, secret))
    return json_response(accounts.project_token(*verified).model_dump_json())


def _shown_once(key: ApiKeyWithSecret) -> Representation:
    """The key's text is not stored, so a repeat is told that it was shown."""
    repeated = key.model_copy(update={"key": None, "warning": _REPEATED})
    return Representation(key.model_dump_json(), repeated.model_dump_json())
