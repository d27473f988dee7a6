"""Makes the FastAPI application of both services, and wraps it in the middleware."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import MappingProxyType
from typing import TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from servicekit.errors import DomainError
from servicekit.http.error_responses import (
    ErrorShape,
    configure,
    on_domain_error,
    on_http_exception,
    on_unexpected_error,
    refusal_of,
    render,
)
from servicekit.http.openapi import Schema
from servicekit.middleware.body_limits import BodyLimitMiddleware
from servicekit.middleware.fast_path import FastPathMiddleware
from servicekit.middleware.logged_paths import logged_path_of
from servicekit.middleware.normalization import NormalizationMiddleware
from servicekit.middleware.request_context import RequestContextMiddleware
from servicekit.middleware.route_table import RouteTable
from servicekit.process.memory import return_large_blocks
from servicekit.process.request_log import RequestLog
from servicekit.protocol.application import ProtocolAnswers, ServedApplication
from servicekit.service.documentation import declared_paths, document_when_asked
from servicekit.service.metrics import ServiceMetrics

MiddlewareFactory: TypeAlias = Callable[[ASGIApp], ASGIApp]
Lifespan: TypeAlias = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, object]]]

# The garbage collector runs after this many new objects. A request makes hardly any cycles, and with Python's own 700
# the collector took a twelfth of the instructions of a request (docs/decisions/0012-one-write-one-timer.md).
_GC_THRESHOLD = 20_000


def new_application(
    title: str,
    *,
    version: str,
    description: str,
    lifespan: Lifespan,
    metrics: ServiceMetrics | None = None,
    error_shapes: Mapping[str, ErrorShape] = MappingProxyType({}),
    security_schemes: Mapping[str, Schema] = MappingProxyType({}),
) -> FastAPI:
    """Make an application with documentation pages that need no internet, and with the product's own error responses.

    `error_shapes` maps prefixes of paths to the shapes of their errors; see servicekit.http.error_responses.
    `security_schemes` are the ways to send a credential, for its OpenAPI document. `metrics` are sampled while it runs.
    """
    configure(error_shapes)
    app = FastAPIOffline(
        title=title,
        version=version,
        description=description,
        lifespan=_with_tuned_memory(lifespan if metrics is None else _sampled(lifespan, metrics)),
        redirect_slashes=False,  # NormalizationMiddleware takes both forms
        exception_handlers={
            DomainError: on_domain_error,
            HTTPException: on_http_exception,
            RequestValidationError: _on_validation_error,
            Exception: on_unexpected_error,
        },
    )
    assert isinstance(app, FastAPI)  # noqa: S101 - the library annotates it so, and mypy cannot see it
    document_when_asked(app, security_schemes)
    return app


def add_middleware(
    app: FastAPI,
    *,
    routers: Sequence[APIRouter] = (),
    large_bodies: Mapping[str, int],
    optional: Sequence[MiddlewareFactory] = (),
    log: RequestLog,
    answers: ProtocolAnswers | None = None,
    personal_paths: Sequence[str] = (),
) -> ServedApplication:
    """Wrap the application from the inside to the outside; a request passes the layers in the opposite order.

    Call it after all routes are included, because it reads their declarations. `optional` layers are listed from the
    inside to the outside. `answers` are given by the protocol class, without any layer. `personal_paths` are the
    prefixes of the paths that have personal data in them.
    """
    routes = RouteTable(declared_paths(app))
    wrapped: ASGIApp = FastPathMiddleware(app, routers=routers, render=render)
    wrapped = BodyLimitMiddleware(wrapped, large=large_bodies, render=render)
    wrapped = NormalizationMiddleware(wrapped, routes=routes, render=render)
    for layer in optional:
        wrapped = layer(wrapped)
    answers = answers or ProtocolAnswers()
    cors_lines = answers.cors.lines if answers.cors is not None else lambda _: ()
    logged_path = logged_path_of(routes, personal_paths)
    outermost = RequestContextMiddleware(
        wrapped,
        log=log,
        render=render,
        cors_lines=cors_lines,
        logged_path=logged_path,
        route_of=routes.template_of,
    )
    templates = {route.path: routes.template_with(route.path.decode()) for route in answers.direct_routes}
    return ServedApplication(outermost, log=log, answers=answers, templates=templates)


def _sampled(lifespan: Lifespan, metrics: ServiceMetrics) -> Lifespan:
    @asynccontextmanager
    async def sampled(app: FastAPI) -> AsyncIterator[Mapping[str, object]]:
        async with lifespan(app) as state:
            sampling = asyncio.create_task(metrics.samples.take_forever())
            try:
                yield state
            finally:
                sampling.cancel()
        metrics.samples.take()

    return sampled


def _with_tuned_memory(lifespan: Lifespan) -> Lifespan:
    @asynccontextmanager
    async def settled(app: FastAPI) -> AsyncIterator[Mapping[str, object]]:
        async with lifespan(app) as state:
            gc.collect()
            gc.freeze()  # the objects that exist at start stay until the service ends
            gc.set_threshold(_GC_THRESHOLD)
            return_large_blocks()
            yield state

    return settled


async def _on_validation_error(request: Request, error: Exception) -> Response:
    """Answer FastAPI's validation errors: its own handler echoes the input, and fails on a NaN in it.

    It is the only handler that needs FastAPI, which the operator's commands do not wait for.
    """
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    return render(request.scope, refusal_of(error.errors()))
