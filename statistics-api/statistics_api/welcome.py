"""`GET /`: the name and version of the service, and links to its routes."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from servicekit.http.accept import preferred
from servicekit.http.openapi import refusals
from statistics_api import __version__

router = APIRouter(tags=["health"])
_VARY = {"Vary": "Accept"}


class Welcome(BaseModel):
    """The service's name, version and main routes."""

    name: str = "statistics-api"
    version: str = __version__
    links: dict[str, str] = {
        "dashboard": "/dashboard",
        "documentation": "/docs",
        "reference": "/redoc",
        "openapi": "/openapi.json",
        "record": "/Log/auth",
        "record many": "/Log/auth/batch",
        "statistics": "/Log/auth/statistics",
        "time series": "/Log/auth/timeseries",
        "track": "/api/v1/track",
        "track many": "/api/v1/track/batch",
        "health": "/health",
        "readiness": "/readyz",
    }


@router.get(
    "/",
    response_model=Welcome,
    summary="What this is",
    responses=refusals(422) | {303: {"description": "To the dashboard, for a client that prefers HTML"}},
)
async def welcome(request: Request) -> Response:
    """Name, version and links. A browser is led to the dashboard."""
    if preferred(request.scope, ("application/json", "text/html")) == "text/html":
        return Response(status_code=HTTPStatus.SEE_OTHER, headers=_VARY | {"Location": "/dashboard"})
    return Response(Welcome().model_dump_json(), headers=_VARY, media_type="application/json")
