"""Errors on the wire. Only the path decides the shape of the body, so every layer renders the same error in one way.

A service states once, by `configure`, which prefix has which shape; whatever has none keeps `{"detail": ...}`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from servicekit.errors import DomainError, FieldError, Internal, Invalid, MethodNotAllowed, PathNotFound

# None means a bug, of which the client gets no details.
Renderer: TypeAlias = Callable[[Scope, DomainError | None], Response]

PROBLEM_TYPE = "application/problem+json"
_TRY_LATER = {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}
# Pydantic's own messages mention dictionaries, and the names of our classes.
_IN_WORDS_OF_JSON = {
    **dict.fromkeys(("dict_type", "model_attributes_type", "model_type"), "Input should be an object"),
    "list_type": "Input should be an array",
}


class ErrorShape(Enum):
    """The shape of the body of an error."""

    # {"detail": ...}: one sentence, or pydantic's message for each field; `code` if it tells what a repeat would do.
    DETAIL = auto()
    # RFC 9457, with `code`, and `errors` where fields are wrong.
    PROBLEM = auto()
    # The same, with the sentence also under `error`.
    PROBLEM_AND_ERROR = auto()
    # The same as PROBLEM between two services: each field error in full, so that the caller can rebuild the error.
    PROBLEM_IN_FULL = auto()


_shapes: dict[bytes, ErrorShape] = {}
# Of the paths whose shapes are remembered: others could fill the memory.
_USUAL_BYTES_MAX = 128


def configure(shapes: Mapping[str, ErrorShape]) -> None:
    """Give each prefix of paths, like `/api/`, its shape. State of the process: a protocol class has no parameters."""
    _shapes.update({prefix.encode(): shape for prefix, shape in shapes.items()})
    _shape_of_usual.cache_clear()


def shape_of(path: bytes) -> ErrorShape:
    """Return the shape for a raw path: the shape of its longest configured prefix."""
    return _shape_of_usual(path) if len(path) <= _USUAL_BYTES_MAX else _find_shape(path)


def _find_shape(path: bytes) -> ErrorShape:
    if b"%" in path:
        path = unquote_to_bytes(path)
    path += b"/"  # `/api` lies within `/api/`
    prefix = max((prefix for prefix in _shapes if path.startswith(prefix)), key=len, default=None)
    return ErrorShape.DETAIL if prefix is None else _shapes[prefix]


# A request that is refused for load has little else to compute.
_shape_of_usual = lru_cache(maxsize=256)(_find_shape)


def render(scope: Scope, error: DomainError | None) -> Response:
    """Return the response for an error, in the shape for the path of the request."""
    return render_as(_shape_of_scope(scope), error)


def render_as(shape: ErrorShape, error: DomainError | None) -> Response:
    """Return the response for an error, in this shape."""
    error = Internal("Internal Server Error") if error is None else error
    if shape is not ErrorShape.DETAIL:
        problem = _problem(shape, error.status, error.code, str(error), error.fields)
        return Response(to_json(problem), error.status, error.headers(), media_type=PROBLEM_TYPE)
    body: dict[str, object] = {"detail": str(error)}
    if isinstance(error, Invalid):
        body["detail"] = [{"type": field.type, "loc": field.loc, "msg": field.msg} for field in error.fields]
    if error.status in _TRY_LATER:
        body["code"] = error.code
    return json_response(body, error.status, error.headers())


def json_response(body: object, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """Any JSON value as a response."""
    return Response(to_json(body), status, headers, media_type="application/json")


async def on_domain_error(request: Request, error: Exception) -> Response:
    """FastAPI's handler for `DomainError`."""
    assert isinstance(error, DomainError)  # noqa: S101 - registered for nothing else
    return render(request.scope, error)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Answer the framework's own refusals: an unknown path (404), an unknown method (405), and rare others."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    shape = _shape_of_scope(request.scope)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return render_as(shape, PathNotFound(error.detail if shape is ErrorShape.DETAIL else "no route has this path"))
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # NormalizationMiddleware knows all routes of the path; the framework names the methods of the first one.
        allowed = request.scope.get("allowed_methods") or sorted((error.headers or {})["Allow"].split(", "))
        sentence = error.detail if shape is ErrorShape.DETAIL else f"this path allows {', '.join(allowed)}"
        return render_as(shape, MethodNotAllowed(sentence, allowed))
    headers = dict(error.headers or {})
    if shape is ErrorShape.DETAIL:
        return json_response({"detail": error.detail}, error.status_code, headers)
    problem = _problem(shape, HTTPStatus(error.status_code), "refused", error.detail, ())
    return Response(to_json(problem), error.status_code, headers, media_type=PROBLEM_TYPE)


async def on_unexpected_error(request: Request, _: Exception) -> Response:
    """Answer an unexpected error: the framework would answer before RequestContextMiddleware, and in plain text."""
    return render(request.scope, None)


def invalid(error: ValidationError, *where: str) -> Invalid:
    """Return a pydantic error as a refusal, without the input, which may be huge, secret or not serialisable."""
    return refusal_of(error.errors(include_url=False, include_input=False, include_context=False), *where)


def refusal_of(details: Iterable[Mapping[str, Any]], *where: str) -> Invalid:
    """The same for the details of such an error, of which FastAPI makes an error of its own."""
    return Invalid([_field_error(each, *where) for each in details])


def _field_error(detail: Mapping[str, Any], *where: str) -> FieldError:
    """JSON's word where pydantic has Python's, and our own sentences without the name of the exception before each."""
    message = _IN_WORDS_OF_JSON.get(detail["type"]) or detail["msg"].removeprefix("Value error, ")
    return FieldError((*where, *detail["loc"]), message, detail["type"])


def _shape_of_scope(scope: Scope) -> ErrorShape:
    return shape_of(scope.get("raw_path") or scope["path"].encode())


def _problem(
    shape: ErrorShape, status: HTTPStatus, code: str, detail: str, fields: Sequence[FieldError]
) -> dict[str, object]:
    """RFC 9457. Without a page for each `type`, `about:blank` says that the status and the code tell all."""
    in_full = shape is ErrorShape.PROBLEM_IN_FULL
    if fields and not in_full:
        detail = "; ".join(f"{_field_name(field)}: {field.msg}" for field in fields)
    problem: dict[str, object] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "detail": detail,
        "code": code,
    }
    if fields:
        problem["errors"] = [
            {"field": _field_name(field), "message": field.msg}
            | ({"loc": field.loc, "type": field.type} if in_full else {})
            for field in fields
        ]
    if shape is ErrorShape.PROBLEM_AND_ERROR:
        problem["error"] = detail
    return problem


def _field_name(field: FieldError) -> str:
    """As the client wrote it: without the part of the request that it stands in, unless that is all there is."""
    return ".".join(map(str, field.loc[1:] or field.loc))
