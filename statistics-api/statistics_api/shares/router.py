"""The public routes of shares: for who manages the project, and one for the tokens of shares."""

from fastapi import APIRouter, Request, Response

from contract.shares import PAGE_PREFIX, Share, ShareDraft, ShareWithToken, Shown
from servicekit.errors import Forbidden, NotAuthenticated
from servicekit.http.bodies import KEY_HEADER
from servicekit.http.openapi import Schema, json_body, refusals
from statistics_api.access.documentation import SHARE_TOKEN, project_manager
from statistics_api.access.presented import presented
from statistics_api.access.shares import FIGURES, StoredShare, is_share_token, share_of
from statistics_api.administration.relaying import NOT_STORED
from statistics_api.delivery.endpoints import REPLAYED_HEADER
from statistics_api.projects.managing import ask_managing, create_managing

# No log may have them: the path of a share's page has its token.
PATHS_WITH_TOKENS = (PAGE_PREFIX,)
_PREFIX = "/projects/{project_key}/shares"
_READS = refusals(401, 403, 404, 422, 429, 503, as_problem=True)
_CHANGES = refusals(401, 403, 404, 408, 409, 413, 422, 429, 503, as_problem=True)
_CREATED: dict[int | str, Schema] = {201: {"headers": REPLAYED_HEADER}}

router = APIRouter(prefix="/api/v1", tags=["shares"])


@router.get(
    _PREFIX,
    response_model=list[Share],
    summary="The shares of a project",
    responses=_READS,
    openapi_extra=project_manager(),
)
async def list_shares(request: Request, project_key: str) -> Response:
    """Without their tokens, the oldest first. An expired one is in the list until another one is made."""
    return await ask_managing(request, "GET", project_key, "shares")


@router.post(
    _PREFIX,
    status_code=201,
    response_model=ShareWithToken,
    summary="Share a view of a project",
    responses=_CHANGES | _CREATED,
    openapi_extra=project_manager() | json_body(ShareDraft, headers=(KEY_HEADER,)),
)
async def create_share(request: Request, project_key: str) -> Response:
    """Whoever has the token reads the figures of the view, and nothing else. It is in this response only: a repeat with
    the same `Idempotency-Key` has null.
    """
    return await create_managing(request, ShareDraft, project_key, "shares")


@router.delete(
    f"{_PREFIX}/{{share_id}}",
    status_code=204,
    summary="End a share",
    responses=_CHANGES,
    openapi_extra=project_manager(),
)
async def delete_share(request: Request, project_key: str, share_id: str) -> Response:
    """Its token is refused everywhere, at once."""
    return await ask_managing(request, "DELETE", project_key, "shares", share_id)


@router.get("/shared", response_model=Shown, summary="What a share shows", responses=_READS, openapi_extra=SHARE_TOKEN)
async def read_shared(request: Request) -> Response:
    """For the token of a share, in `X-API-Key` or as a bearer: its view, and the paths that it may read."""
    content = shown_by(await shared(request)).model_dump_json()
    return Response(content, headers=NOT_STORED, media_type="application/json")


async def shared(request: Request) -> StoredShare:
    """Return the share whose token a request has.

    Raises:
        NotAuthenticated: there is no credential, or no share has this token now.
        Forbidden: the credential is no token of a share.
        NotRecorded: the database cannot be asked.
    """
    found = presented(request.scope)
    if found is None:
        raise NotAuthenticated("the token of a share is needed: X-API-Key, or Authorization: Bearer")
    if not is_share_token(found.text):
        raise Forbidden("the token of a share is needed here, and no other credential")
    return await share_of(request.state.shares, found.text)


def shown_by(share: StoredShare) -> Shown:
    """Return what the page of a share needs; in its paths, `{type}` and `{device_id}` are left to the page."""
    figures = [path.replace("{project_key}", share.project_key) for path in FIGURES[share.view]]
    fields = share._asdict()
    return Shown(figures=figures, **{name: fields[name] for name in Shown.model_fields if name != "figures"})
