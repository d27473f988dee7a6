"""`GET /`: the name and version of the service, and links to its routes."""

from fastapi import APIRouter
from pydantic import BaseModel

from servicekit.http.openapi import refusals
from statistics_api import __version__

router = APIRouter(tags=["health"])


class Welcome(BaseModel):
    """The service's name, version and main routes."""

    name: str = "statistics-api"
    version: str = __version__
    links: dict[str, str] = {
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


@router.get("/", summary="What this is", responses=refusals(422))
async def welcome() -> Welcome:
    """Name, version and links."""
    return Welcome()
