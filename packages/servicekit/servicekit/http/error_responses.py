"""Errors on the wire. Family 1 keeps the document's bodies: one sentence or a list under `detail`."""

from collections.abc import Callable
from http import HTTPStatus
from typing import TypeAlias

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Scope

from servicekit.errors import DomainError, FieldError, Invalid

# None stands for a bug: the client learns no more than that.
Renderer: TypeAlias = Callable[[Scope, DomainError | None], Response]

_TRY_LATER = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}


def render_detail(_: Scope, error: DomainError | None) -> Response:
    """`{"detail": ...}`, and `code` where it tells what a repeat would do."""
    if error is None:
        return json_response({"detail": "Internal Server Error"}, HTTPStatus.INTERNAL_SERVER_ERROR)
    headers = {}
    body: dict[str, object] = {"detail": str(error)}
    if isinstance(error, Invalid):
        body["detail"] = [{"type": field.type, "loc": field.loc, "msg": field.msg} for field in error.fields]
    if error.status in _TRY_LATER:
        headers["Retry-After"] = str(error.retry_after_seconds)
        body["code"] = error.code
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"  # RFC 9110, section 11.6.1: a 401 names what would be accepted
    return json_response(body, error.status, headers)


def json_response(body: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """Any JSON value as a response."""
    return Response(to_json(body), status, headers, media_type="application/json")


async def on_domain_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for `DomainError`."""
    assert isinstance(error, DomainError)  # noqa: S101 - registered for nothing else
    return render_detail(request.scope, error)


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Starlette's own refusals (404, 405), as JSON with the same key."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    return json_response({"detail": error.detail}, error.status_code, dict(error.headers or {}))


async def on_validation_error(request: Request, error: Exception) -> Response:
    """FastAPI's own handler would echo the input, and fail on a NaN in it."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    fields = [FieldError(tuple(each["loc"]), each["msg"], each["type"]) for each in error.errors()]
    return render_detail(request.scope, Invalid(fields))


async def on_unexpected_error(request: Request, _: Exception) -> Response:
    """The framework answers before the exception reaches RequestContextMiddleware, by default with plain text."""
    return render_detail(request.scope, None)


def invalid(error: ValidationError, *where: str) -> Invalid:
    """A pydantic error as a refusal, without the input: it may be huge, secret, or not even serialisable."""
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return Invalid([FieldError((*where, *each["loc"]), each["msg"], each["type"]) for each in details])
