"""What a service declares: its paths, known from the start, and its OpenAPI document, made when somebody asks for it.

The document takes most of the processor time that a start would take, and few processes are ever asked for it.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from anyio.to_thread import run_sync
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servicekit.http.openapi import Schema


def document_when_asked(app: FastAPI, security_schemes: Mapping[str, Schema]) -> None:
    """Make the OpenAPI document at the first request for it, with these schemes, and beside the requests of others."""
    made: list[dict[str, Any]] = []
    lock = threading.Lock()

    def document() -> dict[str, Any]:
        with lock:
            if not made:
                whole = FastAPI.openapi(app)
                if security_schemes:
                    whole.setdefault("components", {})["securitySchemes"] = dict(security_schemes)
                made.append(whole)
            return made[0]

    async def answer(_: Request) -> Response:
        # In a thread: it takes most of a second, in which the other requests must not wait.
        return JSONResponse(await run_sync(document))

    app.openapi = document  # type: ignore[method-assign]  # the framework's own way to change the document
    assert app.openapi_url is not None  # noqa: S101 - it is the framework's default
    app.router.routes.insert(0, Route(app.openapi_url, answer, include_in_schema=False))  # ahead of the framework's own


def declared_paths(app: FastAPI) -> dict[str, Any]:
    """Return what the document says of paths, methods and the names of query parameters, in the form of a document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute) or not route.include_in_schema:
            continue
        parameters = [{"name": name, "in": "query"} for name in _query_parameters(route.dependant)]
        parameters += (route.openapi_extra or {}).get("parameters", [])
        for method in route.methods or ():
            paths.setdefault(str(route.path_format), {})[method.lower()] = {"parameters": parameters}
    return {"paths": paths}


def _query_parameters(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        model = parameter.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):  # each of its fields is a parameter
            yield from (field.alias or name for name, field in model.model_fields.items())
        else:
            yield parameter.alias
    for each in dependant.dependencies:
        yield from _query_parameters(each)
