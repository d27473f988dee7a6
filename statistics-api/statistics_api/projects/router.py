"""The public routes for projects, members and API keys. Only an account's token opens them."""

from typing import TypeVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, TypeAdapter

from contract.access import ApiKey, ApiKeyChange, ApiKeyDraft, ApiKeyWithSecret, Rotation
from contract.administration import Creation
from contract.projects import Member, MemberDraft, Project, ProjectChange, ProjectDraft, Retention
from servicekit.errors import Invalid
from servicekit.http.bodies import KEY_HEADER, read_bytes, read_idempotency_key, validated
from servicekit.http.openapi import Schema, json_body, query, refusals
from servicekit.http.strict_json import decode
from statistics_api.access.documentation import ACCOUNT_TOKEN
from statistics_api.access.tokens import account_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import NOT_STORED, identity_of, relayed
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.projects.queries import KeyFilter
from statistics_api.projects.reader import ProjectReader

NAME = "projects"
Model = TypeVar("Model", bound=BaseModel)

_READS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_CHANGES = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
_CREATED: dict[int | str, Schema] = {201: {"headers": REPLAYED_HEADER}}
_FLAGS = {"true": True, "false": False}
_PROJECTS = TypeAdapter(list[Project])
_MEMBERS = TypeAdapter(list[Member])
_KEYS = TypeAdapter(list[ApiKey])
_RETENTION = TypeAdapter(list[Retention])

_ROTATION_BODY = json_body(Rotation, headers=(KEY_HEADER,))
_ROTATION_BODY["requestBody"]["required"] = False

router = APIRouter(prefix="/api/v1/projects", tags=["projects"])


@router.get("", response_model=list[Project], summary="Your projects", responses=_READS, openapi_extra=ACCOUNT_TOKEN)
async def list_projects(request: Request) -> Response:
    """Every project of which you are a member, the oldest first."""
    account = await account_of(request)
    return _json(_PROJECTS.dump_json(await _reader(request).projects(account.account_id)))


@router.post(
    "",
    status_code=201,
    response_model=Project,
    summary="Create a project",
    responses=_CHANGES | _CREATED,
    openapi_extra=ACCOUNT_TOKEN | json_body(ProjectDraft, headers=(KEY_HEADER,)),
)
async def create_project(request: Request) -> Response:
    """You become its owner. Its `project_key` never changes. Your projects have different names."""
    return await _create(request, ProjectDraft, "projects")


@router.get(
    "/{project_key}", response_model=Project, summary="One project", responses=_READS, openapi_extra=ACCOUNT_TOKEN
)
async def read_project(request: Request, project_key: str) -> Response:
    """A project of which you are not a member is a 404."""
    account = await account_of(request)
    return _json((await _reader(request).project(account.account_id, project_key)).model_dump_json())


@router.patch(
    "/{project_key}",
    response_model=Project,
    summary="Change a project",
    responses=_CHANGES,
    openapi_extra=ACCOUNT_TOKEN | json_body(ProjectChange),
)
async def change_project(request: Request, project_key: str) -> Response:
    """A field that is absent stays; null clears `description` or `retention_days`. The keys of an inactive project are
    refused with 401. Only an owner may do this.
    """
    return await _change(request, ProjectChange, "projects", project_key)


@router.delete(
    "/{project_key}", status_code=204, summary="Delete a project", responses=_CHANGES, openapi_extra=ACCOUNT_TOKEN
)
async def delete_project(request: Request, project_key: str) -> Response:
    """At once for everyone: its keys are refused, and its name is free. Its rows are removed in the background. Only an
    owner may do this.
    """
    return await _delete(request, "projects", project_key)


@router.get(
    "/{project_key}/retention",
    response_model=list[Retention],
    summary="How long the rows of a project are kept, and what is left",
    responses=_READS,
    openapi_extra=ACCOUNT_TOKEN,
)
async def read_retention(request: Request, project_key: str) -> Response:
    """One object for each kind of event, as the last run of the retention found it. A kind that had no row then is not
    in the list, which is empty before the first run. Figures outlive the rows.
    """
    account = await account_of(request)
    return _json(_RETENTION.dump_json(await _reader(request).retention(account.account_id, project_key)))


@router.get(
    "/{project_key}/members",
    response_model=list[Member],
    summary="The members of a project",
    responses=_READS,
    openapi_extra=ACCOUNT_TOKEN,
)
async def list_members(request: Request, project_key: str) -> Response:
    """The earliest first, by the id of each account; e-mail addresses are shown to nobody else."""
    account = await account_of(request)
    return _json(_MEMBERS.dump_json(await _reader(request).members(account.account_id, project_key)))


@router.post(
    "/{project_key}/members",
    status_code=201,
    response_model=Member,
    summary="Add a member",
    responses=_CHANGES | _CREATED,
    openapi_extra=ACCOUNT_TOKEN | json_body(MemberDraft, headers=(KEY_HEADER,)),
)
async def add_member(request: Request, project_key: str) -> Response:
    """An owner may do everything; a member may see the project, its keys and its figures. An e-mail address without an
    account is a 404. Only an owner may do this.
    """
    return await _create(request, MemberDraft, "projects", project_key, "members")


@router.delete(
    "/{project_key}/members/{account_id}",
    status_code=204,
    summary="Remove a member",
    responses=_CHANGES,
    openapi_extra=ACCOUNT_TOKEN,
)
async def remove_member(request: Request, project_key: str, account_id: str) -> Response:
    """An owner removes anyone, and a member may leave. A project keeps an owner: the last one is a 409."""
    return await _delete(request, "projects", project_key, "members", account_id)


@router.get(
    "/{project_key}/api-keys",
    response_model=list[ApiKey],
    summary="The API keys of a project",
    responses=_READS,
    openapi_extra=ACCOUNT_TOKEN
    | {"parameters": [query("active_only", bool, "`true`: without revoked and expired keys.")]},
)
async def list_keys(request: Request, project_key: str) -> Response:
    """Without their secrets, the oldest first. `last_used_at` and `total_requests` are up to a minute late."""
    account = await account_of(request)
    which = KeyFilter(active_only=_flag(request, "active_only"))
    return _json(_KEYS.dump_json(await _reader(request).keys(account.account_id, project_key, which)))


@router.post(
    "/{project_key}/api-keys",
    status_code=201,
    response_model=ApiKeyWithSecret,
    summary="Create an API key",
    responses=_CHANGES | _CREATED,
    openapi_extra=ACCOUNT_TOKEN | json_body(ApiKeyDraft, headers=(KEY_HEADER,)),
)
async def create_key(request: Request, project_key: str) -> Response:
    """The key is shown in this response only: a repeat with the same `Idempotency-Key` has null. Without `scopes` it
    may record and read. Without `expires_at` it lives 60 days; null means for ever. Only an owner may do this.
    """
    return await _create(request, ApiKeyDraft, "projects", project_key, "api-keys")


@router.get(
    "/{project_key}/api-keys/{key_id}",
    response_model=ApiKey,
    summary="One API key",
    responses=_READS,
    openapi_extra=ACCOUNT_TOKEN,
)
async def read_key(request: Request, project_key: str, key_id: str) -> Response:
    """Without its secret."""
    account = await account_of(request)
    return _json((await _reader(request).key(account.account_id, project_key, key_id)).model_dump_json())


@router.patch(
    "/{project_key}/api-keys/{key_id}",
    response_model=ApiKey,
    summary="Change an API key",
    responses=_CHANGES,
    openapi_extra=ACCOUNT_TOKEN | json_body(ApiKeyChange),
)
async def change_key(request: Request, project_key: str, key_id: str) -> Response:
    """`is_active` false revokes the key, and true makes it valid again, unless it has expired or was rotated. What a
    key may do does not change. Only an owner may do this.
    """
    return await _change(request, ApiKeyChange, "projects", project_key, "api-keys", key_id)


@router.delete(
    "/{project_key}/api-keys/{key_id}",
    status_code=204,
    summary="Delete an API key",
    responses=_CHANGES,
    openapi_extra=ACCOUNT_TOKEN,
)
async def delete_key(request: Request, project_key: str, key_id: str) -> Response:
    """It is refused everywhere within 30 seconds, and is not in the list any more. Only an owner may do this."""
    return await _delete(request, "projects", project_key, "api-keys", key_id)


@router.post(
    "/{project_key}/api-keys/{key_id}/rotate",
    status_code=201,
    response_model=ApiKeyWithSecret,
    summary="Replace an API key",
    responses=_CHANGES | _CREATED,
    openapi_extra=ACCOUNT_TOKEN | _ROTATION_BODY,
)
async def rotate_key(request: Request, project_key: str, key_id: str) -> Response:
    """The successor has the same name, scopes, rate limit and length of life. The old key stays valid for the overlap,
    a day by default and at most 30; with 0 it ends at once. A revoked, expired or rotated key is a 409. Only an owner
    may do this.
    """
    return await _create(request, Rotation, "projects", project_key, "api-keys", key_id, "rotate")


def _reader(request: Request) -> ProjectReader:
    reader: ProjectReader = request.state.readers[NAME]
    return reader


async def _create(request: Request, model: type[Model], *segments: str) -> Response:
    account = await account_of(request)
    key = read_idempotency_key(request)
    draft = await _body(request, model)
    creation = Creation[BaseModel](draft=draft)
    if key is not None:
        creation = Creation[BaseModel](draft=draft, idempotency_key=identity_of(key, draft, segments))
    response = await call(request, "POST", *segments, body=creation, query={"account_id": str(account.account_id)})
    return relayed(response)


async def _change(request: Request, model: type[Model], *segments: str) -> Response:
    account = await account_of(request)
    change = await _body(request, model)
    return relayed(await call(request, "PATCH", *segments, body=change, query={"account_id": str(account.account_id)}))


async def _delete(request: Request, *segments: str) -> Response:
    account = await account_of(request)
    return relayed(await call(request, "DELETE", *segments, query={"account_id": str(account.account_id)}))


async def _body(request: Request, model: type[Model]) -> Model:
    text = await read_bytes(request)
    # A rotation needs no body.
    return validated(model, {} if not text and model is Rotation else decode(text), "body")


def _json(content: str | bytes) -> Response:
    return Response(content, headers=NOT_STORED, media_type="application/json")


def _flag(request: Request, name: str) -> bool:
    value = _FLAGS.get(request.query_params.get(name, "false"))
    if value is None:
        raise Invalid.single("must be true or false", "query", name)
    return value
