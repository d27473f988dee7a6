"""Two routes that have a second, direct way to their answer: a POST and a GET, each slow on demand."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from pydantic_core import from_json
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from servicekit.errors import IdempotencyKeyReused, Invalid, NotRecorded, TooManyRequests
from servicekit.http.bodies import read_json
from servicekit.http.error_responses import json_response, render
from servicekit.http.headers import header
from servicekit.http.openapi import query
from servicekit.middleware.fast_path import hot
from servicekit.protocol.application import Admission, HeaderLines
from servicekit.protocol.direct_routes import DirectResponse, Pending

DIRECT_HEADER = b"x-direct"
SLOW_SECONDS = 0.3
_RECORDED = json_response({"recorded": True})


class Work(NamedTuple):
    """What the routes are asked to do."""

    # How: at once, after some time, or not at all.
    how: str
    etag: str | None


async def work(asked: Work) -> int:
    """The routes' own work, the same on both ways: 1, after a while, or an error."""
    if asked.how == "slow":
        await asyncio.sleep(SLOW_SECONDS)
    elif asked.how == "away":
        raise NotRecorded("the database is away")
    elif asked.how == "reused":
        raise IdempotencyKeyReused("it was used before")
    elif asked.how == "bug":
        raise ZeroDivisionError("a secret of the implementation")
    elif asked.how == "cancelled":
        raise asyncio.CancelledError
    return 1


def counted(count: int, asked: Work) -> Response:
    headers = {"ETag": '"1"'}
    return Response(status_code=304, headers=headers) if asked.etag == '"1"' else json_response(count, headers=headers)


def direct_router() -> APIRouter:
    """The long way."""
    router = APIRouter(prefix="/direct")

    @router.post("")
    @hot
    async def record(request: Request) -> Response:
        value = await read_json(request)
        if not isinstance(value, dict) or not isinstance(value.get("how"), str):
            raise Invalid.single("must be a string", "body", "how")
        await work(Work(value["how"], None))
        return _RECORDED

    @router.post("/of/{name}")
    @hot
    async def record_of(request: Request) -> Response:
        return json_response({"of": request.path_params["name"], "recorded": await read_json(request)})

    @router.get("/count", openapi_extra={"parameters": [query("how", str, "What to do.")]})
    @hot
    async def count(request: Request) -> Response:
        asked = Work(request.query_params.get("how", ""), header(request.scope, b"if-none-match"))
        return counted(await work(asked), asked)

    @router.get("/{name}/count", openapi_extra={"parameters": [query("how", str, "What to do.")]})
    @hot
    async def count_of(request: Request) -> Response:
        return await count(request)

    return router


def _marked(response: Response) -> DirectResponse:
    """With a header that tells the two ways apart: a test must not ask one way twice."""
    made = DirectResponse.of(response)
    return DirectResponse(made.status, made.head + DIRECT_HEADER + b": 1\r\n", made.body)


_DIRECTLY_RECORDED = _marked(_RECORDED)


class DirectRecord:
    """The short way to `POST /direct`."""

    method = b"POST"
    path = b"/direct"

    def read(self, _: Mapping[bytes, bytes], payload: bytes, __: Mapping[str, Any], ___: str = "") -> Work | None:
        try:
            value = from_json(payload)
        except ValueError:
            return None
        is_plain = isinstance(value, dict) and value.keys() == {"how"} and isinstance(value["how"], str)
        if is_plain and value["how"] == "unreadable":
            raise ZeroDivisionError
        return Work(value["how"], None) if is_plain else None

    def answer(self, asked: Work, _: str, state: Mapping[str, Any]) -> DirectResponse | Pending:
        assert state["lifespan"] == "was there"
        if asked.how == "at once":
            return _DIRECTLY_RECORDED
        if asked.how == "reused":
            raise IdempotencyKeyReused("it was used before")
        return Pending(asyncio.ensure_future(work(asked)), lambda outcome: outcome.result() and _DIRECTLY_RECORDED)


class DirectRecordOf:
    """The short way to `POST /direct/of/{name}`."""

    method = b"POST"
    path = b"/direct/of/*"

    def read(
        self, _: Mapping[bytes, bytes], payload: bytes, __: Mapping[str, Any], segment: str = ""
    ) -> Response | None:
        try:
            return json_response({"of": segment, "recorded": from_json(payload)})
        except ValueError:
            return None

    def answer(self, made: Response, _: str, __: Mapping[str, Any]) -> Pending:
        """It waits for one outcome, and then for another."""
        second = Pending(asyncio.ensure_future(asyncio.sleep(0)), lambda _: _marked(made))
        return Pending(asyncio.ensure_future(asyncio.sleep(0)), lambda _: second)


class DirectCount:
    """The short way to `GET /direct/count`."""

    method = b"GET"
    path = b"/direct/count"

    def read(self, headers: Mapping[bytes, bytes], payload: bytes, __: Mapping[str, Any], ___: str = "") -> Work | None:
        name, _, how = payload.partition(b"=")
        if payload and (name != b"how" or not how.isalpha()):
            return None
        etag = headers.get(b"if-none-match")
        return Work(how.decode(), None if etag is None else etag.decode("latin-1"))

    def answer(self, asked: Work, _: str, __: Mapping[str, Any]) -> DirectResponse | Pending:
        return Pending(asyncio.ensure_future(work(asked)), lambda outcome: _marked(counted(outcome.result(), asked)))


class RepeatedCount(DirectCount):
    """The short way to `GET /direct/{name}/count`, for one name and some queries."""

    path = b"/direct/often/count"
    template = "/direct/{name}/count"


def repeated(target: bytes) -> RepeatedCount | None:
    """The targets that were answered before, so to say."""
    path, _, query = target.partition(b"?")
    return RepeatedCount() if path == RepeatedCount.path and query in (b"", b"how=slow", b"how=bug") else None


def limited(requests_max: int) -> Admission:
    """A rate limit that knows no time: `requests_max` requests, and no more."""
    asked = 0

    def admit(_: object, __: object) -> HeaderLines:
        nonlocal asked
        asked += 1
        if asked > requests_max:
            raise TooManyRequests(f"more than {requests_max}", 7)
        return [(b"asked", b"%d" % asked)]

    return admit


class LimitMiddleware:
    """The same rate limit for what takes the long way."""

    def __init__(self, app: ASGIApp, admit: Admission) -> None:
        self._app = app
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] == "http":
                self._admit(scope["client"], scope["headers"])
        except TooManyRequests as refusal:
            await render(scope, refusal)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
