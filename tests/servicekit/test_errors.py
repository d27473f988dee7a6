"""Errors by code, both ways: what one service renders, another one rebuilds."""

import json
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response

from servicekit import errors
from servicekit.errors import DomainError, FieldError, Invalid, NotFound, NotRecorded, Overloaded, rebuild, registered
from servicekit.http.error_responses import ErrorShape, render_as

CODES = sorted(registered())
SENTENCES = st.text(st.characters(codec="utf-8"), max_size=40)
FIELDS = st.lists(
    st.builds(
        FieldError,
        st.lists(st.one_of(SENTENCES, st.integers(0, 9_999)), max_size=4).map(tuple),
        SENTENCES,
        SENTENCES,
    ),
    max_size=3,
)
SECONDS = st.one_of(st.none(), st.integers(1, 3_600))


def as_sent(response: Response) -> tuple[dict[str, Any], int, int | None]:
    """What the other service reads."""
    seconds = response.headers.get("retry-after")
    return json.loads(bytes(response.body)), response.status_code, None if seconds is None else int(seconds)


def told(error: DomainError) -> tuple[object, ...]:
    return type(error), error.status, str(error), error.fields, error.retry_after_seconds


@pytest.mark.parametrize("code", CODES)
@given(sentence=SENTENCES, fields=FIELDS, seconds=SECONDS)
def test_what_one_service_renders_another_rebuilds(
    code: str, sentence: str, fields: list[FieldError], seconds: int | None
) -> None:
    kind = registered()[code]
    sent = rebuild(code, kind.status, sentence, fields, seconds)
    assert sent is not None

    body, status, retry_after = as_sent(render_as(ErrorShape.PROBLEM_IN_FULL, sent))
    received = rebuild(
        body["code"],
        status,
        body["detail"],
        [FieldError(tuple(each["loc"]), each["message"], each["type"]) for each in body.get("errors", ())],
        retry_after,
    )

    assert received is not None
    assert (
        told(received)
        == told(sent)
        == (kind, kind.status, sentence, tuple(fields), seconds or kind.retry_after_seconds)
    )


@pytest.mark.parametrize(
    "error",
    [
        NotFound("User not found"),
        NotRecorded("the database is away"),
        Invalid.single("too long", "body", "userKey"),
        errors.TooManyRequests("more than 3 per 1 minute", 20, limit=3),
        errors.MethodNotAllowed("this path allows GET", ["GET", "HEAD"]),
        errors.UnsupportedMediaType("br is not understood", ["gzip"]),
    ],
    ids=lambda error: error.code,
)
def test_an_error_as_it_is_raised_is_rebuilt_equal(error: DomainError) -> None:
    received = rebuild(error.code, error.status, str(error), error.fields, error.retry_after_seconds)

    assert received is not None
    assert told(received) == told(error)
    received.headers()  # it needs nothing that only __init__ could give


def test_the_codes_that_every_family_needs() -> None:
    assert {code: int(kind.status) for code, kind in registered().items() if kind.__module__ == errors.__name__} == {
        "bad-request": 400,
        "not-authenticated": 401,
        "credentials-refused": 401,
        "forbidden": 403,
        "not-found": 404,
        "path-not-found": 404,
        "method-not-allowed": 405,
        "request-timeout": 408,
        "conflict": 409,
        "idempotency-key-reused": 409,
        "gone": 410,
        "body-too-large": 413,
        "unsupported-media-type": 415,
        "invalid": 422,
        "too-many-requests": 429,
        "internal": 500,
        "not-recorded": 503,
        "not-configured": 503,
        "outcome-unknown": 503,
    }


@pytest.mark.parametrize(("code", "status"), [("a-code-of-tomorrow", 404), ("not-found", 409), ("", 404), ("", 200)])
def test_a_code_that_is_unknown_or_has_another_status_is_not_rebuilt(code: str, status: int) -> None:
    assert rebuild(code, status, "a sentence") is None


def test_a_subclass_that_inherits_its_code_is_rebuilt_as_its_parent() -> None:
    error = Overloaded("too many requests are in flight")
    assert type(rebuild(error.code, error.status, str(error))) is NotRecorded


def test_a_code_belongs_to_one_class() -> None:
    with pytest.raises(TypeError, match="NotFound have the same code, 'not-found'"):
        type("UserNotFound", (DomainError,), {"code": "not-found", "status": HTTPStatus.NOT_FOUND})
    with pytest.raises(TypeError, match="needs a code of its own"):
        type("Elsewhere", (NotFound,), {"status": HTTPStatus.GONE})
    assert registered()["not-found"] is NotFound


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (NotFound("no"), {}),
        (errors.NotAuthenticated("no"), {"WWW-Authenticate": "Bearer"}),
        (errors.MethodNotAllowed("no", ["GET", "HEAD"]), {"Allow": "GET, HEAD"}),
        (errors.UnsupportedMediaType("no", ["gzip", "identity"]), {"Accept-Encoding": "gzip, identity"}),
        (errors.UnsupportedMediaType("no"), {}),
        (errors.TooManyRequests("no", 7), {"Retry-After": "7"}),
        (
            errors.TooManyRequests("no", 7, limit=100),
            {"Retry-After": "7", "RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "7"},
        ),
        (NotRecorded("no"), {"Retry-After": "1"}),
        (errors.OutcomeUnknown("no"), {"Retry-After": "1"}),
    ],
    ids=lambda value: value.code if isinstance(value, DomainError) else "",
)
def test_the_headers_of_an_error(error: DomainError, headers: dict[str, str]) -> None:
    assert error.headers() == headers
