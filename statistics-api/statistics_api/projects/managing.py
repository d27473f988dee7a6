"""Calls of the private service for who manages a project: an owner, or an API key with the scope to manage."""

from collections.abc import Mapping
from typing import TypeVar

from fastapi import Request, Response
from pydantic import BaseModel

from contract.access import Rotation
from servicekit.http.bodies import read_bytes, read_idempotency_key, validated
from servicekit.http.strict_json import decode
from statistics_api.access.projects import manager_of
from statistics_api.administration.client import call
from statistics_api.administration.relaying import creation_of, relayed

Model = TypeVar("Model", bound=BaseModel)


async def ask_managing(
    request: Request, method: str, project_key: str, *segments: str, query: Mapping[str, str] | None = None
) -> Response:
    """Relay a call without a body to a path below the project. Raises as `manager_of` and `call`."""
    who = await manager_of(request, project_key)
    return relayed(await call(request, method, "projects", project_key, *segments, query={**who, **(query or {})}))


async def change_managing(request: Request, model: type[Model], project_key: str, *segments: str) -> Response:
    """Relay a change, whose body has the fields that change. Raises as `ask_managing`, and Invalid."""
    who = await manager_of(request, project_key)
    change = await _body(request, model)
    return relayed(await call(request, "PATCH", "projects", project_key, *segments, body=change, query=who))


async def create_managing(request: Request, model: type[Model], project_key: str, *segments: str) -> Response:
    """Relay a creation, once for each idempotency key. Raises as `ask_managing`, and Invalid."""
    who = await manager_of(request, project_key)
    key = read_idempotency_key(request)
    creation = creation_of(await _body(request, model), key, (project_key, *segments))
    return relayed(await call(request, "POST", "projects", project_key, *segments, body=creation, query=who))


async def _body(request: Request, model: type[Model]) -> Model:
    text = await read_bytes(request)
    # A rotation needs no body.
    return validated(model, {} if not text and model is Rotation else decode(text), "body")
