"""The OpenAPI text of routes that read their request themselves, which FastAPI cannot derive from a signature."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from servicekit.http.error_responses import PROBLEM_TYPE

Schema = dict[str, Any]


class Detail(BaseModel):
    """An error in one sentence."""

    detail: str


class TryLater(BaseModel):
    """A failure of the server; `code` tells what a repeat would do."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"detail": "the database cannot be reached", "code": "not-recorded"}]}
    )

    detail: str
    code: str


class FieldProblem(BaseModel):
    """What is wrong with one field, and where it is."""

    type: str
    loc: list[str | int]
    msg: str


class ManyDetails(BaseModel):
    """Every field that is wrong, and why."""

    detail: list[FieldProblem]


class WrongField(BaseModel):
    """One field that is wrong, and why."""

    field: str
    message: str


class Problem(BaseModel):
    """An error as RFC 9457 defines it. Programs read `code`; only a 422 has `errors`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[WrongField] | None = None


_RETRY_AFTER: Schema = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
# With a limit, every other response has them, too.
_RATE_LIMIT: Schema = {
    "RateLimit-Limit": {"description": "Requests in a period.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Requests that are left of them.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until there are more.", "schema": {"type": "integer"}},
}
_REFUSALS: dict[int, Schema] = {
    400: {"model": Detail, "description": "A value that is not one of those allowed"},
    401: {"model": Detail, "description": "No credential, or not a valid one"},
    408: {"model": Detail, "description": "The body did not arrive in time"},
    403: {"model": Detail, "description": "Known, but not allowed to do this"},
    404: {"model": Detail, "description": "It does not exist, or is not yours to see"},
    409: {"model": Detail, "description": "The idempotency key was used before with another body"},
    410: {"model": Detail, "description": "It was erased for good"},
    413: {"model": Detail, "description": "The body is too large, as it arrived or decoded"},
    415: {
        "model": Detail,
        "description": "The body has another `Content-Encoding` than gzip",
        "headers": {"Accept-Encoding": {"description": "What is taken.", "schema": {"type": "string"}}},
    },
    422: {"model": ManyDetails, "description": "Malformed: which field, and why"},
    429: {
        "model": TryLater,
        "description": "The API key, or the client's address, has used up its rate limit",
        "headers": _RETRY_AFTER | _RATE_LIMIT,
    },
    503: {
        "model": TryLater,
        "description": "`not-recorded`: repeat freely. `outcome-unknown`: may be stored; a repeat is exact only with "
        "the same idempotency key",
        "headers": _RETRY_AFTER,
    },
}


def refusals(*statuses: int, as_problem: bool = False) -> dict[int | str, Schema]:
    """The `responses` of a route, each described once for the whole product.

    A route whose body may be too large may also get one that it cannot decode. `as_problem` for a route whose path has
    RFC 9457's shape: see servicekit.http.error_responses.
    """
    if HTTPStatus.REQUEST_ENTITY_TOO_LARGE in statuses:
        statuses = (*statuses, HTTPStatus.UNSUPPORTED_MEDIA_TYPE.value)
    described: dict[int | str, Schema] = {status: _REFUSALS[status] for status in sorted(set(statuses))}
    if not as_problem:
        return described
    content = {PROBLEM_TYPE: {"schema": schema_of(Problem)}}
    return {
        status: {key: value for key, value in each.items() if key != "model"} | {"content": content}
        for status, each in described.items()
    }


def json_body(model: Any, *, headers: tuple[str, ...] = (), extra_content: Schema | None = None) -> Schema:  # noqa: ANN401 - any type pydantic knows
    """The `openapi_extra` of a route whose body is `model`, and which reads these optional headers."""
    content = {"application/json": {"schema": schema_of(model)}} | (extra_content or {})
    return {
        "requestBody": {"required": True, "content": content, "description": "May be compressed with gzip."},
        "parameters": [
            {"name": name, "in": "header", "required": False, "schema": _HEADERS[name], "description": _MEANING[name]}
            for name in headers
        ],
    }


def query(name: str, type_: Any, description: str, **more: object) -> Schema:  # noqa: ANN401 - any type pydantic knows
    """One optional query parameter. A route refuses every parameter that it does not declare."""
    return {
        "name": name,
        "in": "query",
        "required": False,
        "schema": schema_of(type_),
        "description": description,
        **more,
    }


def schema_of(type_: Any) -> Schema:  # noqa: ANN401 - any type pydantic knows
    """The JSON schema of a type in one piece, without references."""
    schema = TypeAdapter(type_).json_schema()
    definitions = schema.pop("$defs", {})

    def inlined(part: Any) -> Any:  # noqa: ANN401 - any piece of a schema
        if isinstance(part, list):
            return [inlined(each) for each in part]
        if not isinstance(part, dict):
            return part
        if (reference := part.get("$ref")) is not None:
            return inlined(definitions[reference.rsplit("/", 1)[-1]])
        return {key: inlined(value) for key, value in part.items()}

    whole: Schema = inlined(schema)
    return whole


_HEADERS: dict[str, Schema] = {
    "Idempotency-Key": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "If-None-Match": {"type": "string"},
    "Prefer": {"type": "string"},
    "X-Request-Deadline": {"type": "number"},
}
_MEANING = {
    "Idempotency-Key": "Your own identity for this request: a repeat within 48 hours is answered and stores nothing.",
    "Prefer": "`respond-async`: while the database is away, store the events and count them later.",
    "If-None-Match": "The ETag of a response that you have: 304 if it is still current.",
    "X-Request-Deadline": "Seconds since the epoch. The work is not begun after this time.",
}
