"""The FastAPI application that both services start from, and the layers around it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from servicekit.body_limits import BodyLimits
from servicekit.edge import Edge
from servicekit.errors import DomainError
from servicekit.hot_routes import HotRoutes
from servicekit.problems import detail_body, on_bug, on_domain_error, on_http_exception, on_validation_error
from servicekit.request_log import RequestLog
from servicekit.surface import Surface

Layer: TypeAlias = Callable[[ASGIApp], ASGIApp]
Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, object]]]


def new_application(title: str, *, version: str, description: str, lifespan: Lifespan) -> FastAPI:
    """Documentation pages that need no internet, and every refusal in the product's own words."""
    app = FastAPIOffline(
        title=title,
        version=version,
        description=description,
        lifespan=lifespan,
        redirect_slashes=False,  # Surface takes both forms
        exception_handlers={
            DomainError: on_domain_error,
            HTTPException: on_http_exception,
            RequestValidationError: on_validation_error,
            Exception: on_bug,
        },
    )
    assert isinstance(app, FastAPI)  # noqa: S101 - the library annotates it so, and mypy cannot see it
    return app


def layers(
    app: ASGIApp,
    *,
    routers: Sequence[APIRouter] = (),
    large_bodies: Mapping[str, int],
    optional: Sequence[Layer] = (),
    log: RequestLog,
    in_flight_max: int,
) -> ASGIApp:
    """Wrap from the inside out; a request meets them in the opposite order. `optional` are inside to outside."""
    app = Surface(app)
    app = HotRoutes(app, routers=routers, render=detail_body)
    app = BodyLimits(app, large=large_bodies, render=detail_body)
    for layer in optional:
        app = layer(app)
    return Edge(app, log=log, in_flight_max=in_flight_max, render=detail_body)
