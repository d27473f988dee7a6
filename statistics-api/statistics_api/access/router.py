"""The public route that exchanges an API key for a token."""

from fastapi import APIRouter, Request, Response

from contract.tokens import ProjectLogin, ProjectToken
from servicekit.http.bodies import read_json, validated
from servicekit.http.openapi import json_body, refusals
from statistics_api.access.logins import project_login
from statistics_api.administration.relaying import NOT_STORED

router = APIRouter(prefix="/api", tags=["stores"])


@router.post(
    "/auth",
    response_model=ProjectToken,
    summary="Log a project in",
    responses=refusals(401, 403, 408, 413, 422, 429, 503, as_problem=True),
    openapi_extra=json_body(ProjectLogin),
)
async def log_in(request: Request) -> Response:
    """Returns a token for `Authorization: Bearer`, which lives for 60 minutes and may do what the API key may. It ends
    with the key: within 30 seconds after the key was revoked, or its project was blocked.
    """
    login = validated(ProjectLogin, await read_json(request), "body")
    return Response(await project_login(request, login), headers=NOT_STORED, media_type="application/json")
