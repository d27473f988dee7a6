"""Every layer refuses a request in the shape that its path has."""

from contextlib import ExitStack
from http import HTTPStatus
from typing import Any

import pytest
from fastapi import FastAPI

from servicekit.errors import Invalid, NotFound
from servicekit.http.error_responses import ErrorShape, render_as, shape_of
from servicekit.http.openapi import refusals
from tests.servicekit.conftest import SmallService, StartSmall
from tests.servicekit.raw_http import Answer
from tests.servicekit.small_service import ERROR_SHAPES

SHAPES = {"": ErrorShape.DETAIL} | {prefix.rstrip("/"): shape for prefix, shape in ERROR_SHAPES.items()}
LARGE = b"x" * 70_000
# A request for each layer that refuses some, and what it says.
REFUSALS: dict[str, tuple[str, str, bytes | None, int, str, str]] = {
    "the endpoint": ("GET", "/refused", None, 409, "idempotency-key-reused", "it was used before"),
    "the endpoint, try later": ("GET", "/away", None, 503, "not-recorded", "the database is away"),
    "the body limit": ("POST", "/size", LARGE, 413, "body-too-large", "The body is larger than 65536 bytes"),
    "the routes": ("GET", "/nowhere", None, 404, "path-not-found", "no route has this path"),
    "the methods": ("PUT", "/plain", b"", 405, "method-not-allowed", "this path allows GET, HEAD, OPTIONS"),
    "a bug": ("GET", "/bug", None, 500, "internal", "Internal Server Error"),
}
# Family 1 keeps these two as the framework has them.
DETAILS = {404: "Not Found", 405: "Method Not Allowed"}


@pytest.fixture(scope="module")
def small(start_small: StartSmall) -> SmallService:
    return start_small(IN_FLIGHT_MAX="1")


@pytest.fixture(params=SHAPES)
def prefix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def assert_refused(answer: Answer, shape: ErrorShape, status: int, code: str, detail: str) -> None:
    assert answer.status == status
    assert answer.json == expected(shape, status, code, detail)
    is_detail = shape is ErrorShape.DETAIL
    assert answer.headers["content-type"] == ("application/json" if is_detail else "application/problem+json")
    assert answer.headers.get("retry-after") == ("1" if status == 503 else None)


def expected(shape: ErrorShape, status: int, code: str, detail: str) -> dict[str, Any]:
    if shape is ErrorShape.DETAIL:
        return {"detail": DETAILS.get(status, detail)} | ({"code": code} if status == 503 else {})
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, "code": code}
    return body | ({"error": detail} if shape is ErrorShape.PROBLEM_AND_ERROR else {})


@pytest.mark.parametrize("layer", REFUSALS)
def test_each_layer_refuses_in_the_shape_of_the_path(small: SmallService, prefix: str, layer: str) -> None:
    method, path, body, status, code, detail = REFUSALS[layer]
    with small.connect() as connection:
        answer = connection.ask(method, prefix + path, body=body)

    assert_refused(answer, SHAPES[prefix], status, code, detail)


def test_a_refusal_under_overload_has_the_shape_of_the_path(small: SmallService, prefix: str) -> None:
    overloaded = SHAPES[prefix], 503, "not-recorded", "too many requests are in flight"
    with ExitStack() as busy:
        busy.enter_context(small.one_in_flight())
        connection = busy.enter_context(small.connect())
        assert_refused(connection.ask("GET", f"{prefix}/plain"), *overloaded)
        connection.send(f"POST {prefix}/size HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\n".encode())
        connection.send(b"content-length: 1\r\n\r\n")  # refused in a task
        assert_refused(connection.answer("POST"), *overloaded)


def test_the_framework_names_each_field_in_the_shape_of_the_path(small: SmallService, prefix: str) -> None:
    with small.connect() as connection:
        answer = connection.ask("GET", f"{prefix}/number?value=x")

    message = "Input should be a valid integer, unable to parse string as an integer"
    full = {"type": "int_parsing", "loc": ["query", "value"]}
    assert answer.status == 422
    match SHAPES[prefix]:
        case ErrorShape.DETAIL:
            assert answer.json == {"detail": [full | {"msg": message}]}
        case ErrorShape.PROBLEM_IN_FULL:
            assert answer.json["errors"] == [full | {"field": "value", "message": message}]
            assert answer.json["detail"] == f"query.value: {message}"
        case _:
            assert answer.json["errors"] == [{"field": "value", "message": message}]
            assert answer.json["detail"] == f"value: {message}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/plain", "GET, HEAD, OPTIONS"),
        ("GET", "/size", "OPTIONS, POST"),
        ("DELETE", "/problem/large", "OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("POST", "/openapi.json", "GET, HEAD"),  # the framework's own, which no document declares
    ],
)
def test_a_405_names_every_method_that_the_path_allows(
    small: SmallService, method: str, path: str, allowed: str
) -> None:
    with small.connect() as connection:
        answer = connection.ask(method, path)

    assert (answer.status, answer.headers["allow"]) == (405, allowed)


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        (b"/problem/users", ErrorShape.PROBLEM),
        (b"/problem", ErrorShape.PROBLEM),
        (b"/problem/", ErrorShape.PROBLEM),
        (b"/problem/v1", ErrorShape.PROBLEM_AND_ERROR),
        (b"/problem/v1/users", ErrorShape.PROBLEM_AND_ERROR),
        (b"/problem/v12/users", ErrorShape.PROBLEM),
        (b"/%70roblem/v1/users", ErrorShape.PROBLEM_AND_ERROR),
        (b"/problem%2fv1/users", ErrorShape.PROBLEM_AND_ERROR),
        (b"/problem/%zz/%", ErrorShape.PROBLEM),
        (b"/problems/users", ErrorShape.DETAIL),
        (b"/Problem/users", ErrorShape.DETAIL),
        (b"/x/problem/users", ErrorShape.DETAIL),
        (b"//problem/users", ErrorShape.DETAIL),
        (b"/\xff", ErrorShape.DETAIL),
        (b"/", ErrorShape.DETAIL),
        (b"*", ErrorShape.DETAIL),
        (b"", ErrorShape.DETAIL),
    ],
)
def test_the_longest_prefix_decides(monkeypatch: pytest.MonkeyPatch, path: bytes, shape: ErrorShape) -> None:
    shapes = {prefix.encode(): shape for prefix, shape in ERROR_SHAPES.items()}
    monkeypatch.setattr("servicekit.http.error_responses._shapes", shapes)

    assert shape_of(path) is shape


def test_a_problem_lists_fields_only_where_some_are_wrong() -> None:
    body = render_as(ErrorShape.PROBLEM, Invalid.single("too long")).body

    assert b'"errors":[{"field":"body","message":"too long"}]' in body
    assert b"errors" not in render_as(ErrorShape.PROBLEM, NotFound("no")).body


def test_the_documentation_shows_the_shape_of_the_path() -> None:
    app = FastAPI()
    app.get("/as-detail", responses=refusals(404, 422, 503))(lambda: None)
    app.get("/as-problem", responses=refusals(404, 422, 503, as_problem=True))(lambda: None)
    paths = app.openapi()["paths"]

    for status, model in {"404": "Detail", "422": "ManyDetails", "503": "TryLater"}.items():
        detail, problem = (paths[path]["get"]["responses"][status] for path in ("/as-detail", "/as-problem"))
        assert detail["content"] == {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}
        assert list(problem["content"]) == ["application/problem+json"]
        schema = problem["content"]["application/problem+json"]["schema"]
        assert schema["required"] == ["type", "title", "status", "detail", "code"]
        assert detail["description"] == problem["description"]
        assert detail.get("headers") == problem.get("headers")
