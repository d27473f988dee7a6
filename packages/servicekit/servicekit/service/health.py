"""Liveness and readiness routes: liveness is about the process alone, readiness also about everything that it needs."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from servicekit.errors import RETRY_AFTER_SECONDS, DomainError
from servicekit.http.openapi import refusals
from servicekit.process import drain

# Returns the state of one thing that the service needs, or raises a DomainError that says what is wrong.
ReadinessCheck = Callable[[], Awaitable[str]]


class Health(BaseModel):
    """The document's answer to `GET /health`."""

    status: Literal["ok"] = "ok"
    service: str


class Readiness(BaseModel):
    """Whether this process can serve, and if not, why not."""

    status: Literal["ready", "unavailable"]
    reason: str | None = Field(description="One sentence; null when ready.")
    service: str
    version: str
    environment: str
    needs: dict[str, str] = Field(description="For each thing the service needs, its state.")


def health_routes(service: str, *, version: str, environment: str, needs: Mapping[str, ReadinessCheck]) -> APIRouter:
    """`/health`, `/livez` and `/readyz`. All are async: liveness must not queue behind busy worker threads."""
    router = APIRouter(tags=["health"])

    @router.get("/health", summary="Is the service up? Checks nothing else", responses=refusals(422))
    async def health() -> Health:
        return Health(service=service)

    @router.get("/livez", summary="Is the process alive? Never touches the database", responses=refusals(422))
    async def livez() -> Health:
        return Health(service=service)

    @router.get(
        "/readyz",
        summary="Can it serve?",
        responses=refusals(422) | {503: {"model": Readiness, "description": "Not now; `reason` says why"}},
    )
    async def readyz(response: Response) -> Readiness:
        states: dict[str, str] = {}
        reason = "shutting down" if drain.is_draining() else None
        for name, need in needs.items():
            try:
                states[name] = await need()
            except DomainError as error:
                states[name] = str(error)
                reason = reason or f"{name}: {error}"
        if reason is not None:
            response.status_code = 503
            response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
        return Readiness(
            status="ready" if reason is None else "unavailable",
            reason=reason,
            service=service,
            version=version,
            environment=environment,
            needs=states,
        )

    return router
