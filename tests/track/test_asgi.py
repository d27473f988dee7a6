"""A real FastAPI application under uvicorn reports to a real receiver."""

import asyncio
import re
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from device_statistics_track import TrackMiddleware
from tests.track.receiver import KEY, Receiver
from tests.track.servers import running_asgi

pytestmark = pytest.mark.usefixtures("hasty")

BROKEN = "an error of the application"


async def raw_text(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(request.path_params))


def new_application() -> FastAPI:
    app = FastAPI()
    add_responses(app)
    add_routers(app)
    return app


def add_responses(app: FastAPI) -> None:
    @app.get("/")
    async def root() -> dict[str, str]:
        return {}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(BROKEN)

    @app.get("/stream")
    async def stream(broken: bool = False) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for number in range(4):
                await asyncio.sleep(0.05)
                if broken and number == 2:
                    raise RuntimeError(BROKEN)
                yield b"part"

        return StreamingResponse(parts())

    @app.get("/endless")
    async def endless() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            while True:
                await asyncio.sleep(0.01)
                yield b"part"

        return StreamingResponse(parts())

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        return {"length": len(await request.body())}


def add_routers(app: FastAPI) -> None:
    users = APIRouter(prefix="/users")
    inner = FastAPI()
    router = APIRouter()

    @users.get("/{user_id}")
    async def user(user_id: int) -> dict[str, int]:
        return {"id": user_id}

    @router.get("/deep/{name:path}")
    async def deep(name: str) -> str:
        return name

    @inner.get("/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    users.include_router(router, prefix="/{user_id}/more")
    app.include_router(users, prefix="/v1")
    inner.include_router(router, prefix="/included")
    app.mount("/tenants/{tenant}/inner", inner)
    app.mount("/static", Starlette(routes=[Route("/fixed", raw_text), Mount("/{a}", routes=[Route("/{b}", raw_text)])]))


def track(
    receiver: Receiver, *, user_agent: bool = False, consumer: Callable[[object], str | None] | None = None
) -> FastAPI:
    app = new_application()
    app.add_middleware(TrackMiddleware, api_key=KEY, url=receiver.url, user_agent=user_agent, consumer=consumer)
    return app


def test_a_request_is_one_event(receiver: Receiver) -> None:
    before = datetime.now(UTC)
    with running_asgi(track(receiver, user_agent=True, consumer=lambda _scope: "someone")) as url:
        headers = {"User-Agent": "Browser/1", "Authorization": "Bearer abc", "Cookie": "session=1"}
        response = httpx2.get(f"{url}/v1/users/7?secret=1", headers=headers)
        assert (response.status_code, response.json()) == (200, {"id": 7})
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert uuid.UUID(event.pop("eventId")).version == 7
    timestamp = event.pop("timestamp")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", timestamp)
    assert before <= datetime.fromisoformat(timestamp) <= datetime.now(UTC)
    assert 0 < event.pop("response_time_ms") < 20_000
    assert event == {
        "url_path": "/v1/users/{user_id}",
        "method": "GET",
        "response_status_code": 200,
        "user_agent": "Browser/1",
        "consumer": "someone",
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "template"),
    [
        ("GET", "/", 200, "/"),
        ("GET", "/v1/users/7", 200, "/v1/users/{user_id}"),
        ("GET", "/v1/users/seven", 422, "/v1/users/{user_id}"),
        ("GET", "/v1/users/7/more/deep/a/b", 200, "/v1/users/{user_id}/more/deep/{name}"),
        ("POST", "/v1/users/7", 405, "/v1/users/{user_id}"),
        ("GET", "/tenants/acme/inner/things/1", 200, "/tenants/{tenant}/inner/things/{thing}"),
        ("GET", "/tenants/acme/inner/things/acme", 200, "/tenants/{tenant}/inner/things/{thing}"),
        ("GET", "/tenants/acme/inner/included/deep/x", 200, "/tenants/{tenant}/inner/included/deep/{name}"),
        ("GET", "/tenants/acme/inner/nothing", 404, "/tenants/{tenant}/inner/{path}"),
        ("GET", "/static/one/two/three", 404, "/static/{a}/{path}"),
        ("GET", "/static/fixed", 200, "/static/fixed"),
        ("GET", "/static/one/two", 200, "/static/{a}/{b}"),
        ("GET", "/nothing", 404, "(unmatched)"),
        ("GET", "/nothing/of/77?q=1", 404, "(unmatched)"),
        ("HEAD", "/", 405, "/"),
    ],
)
def test_the_path_is_the_whole_template(receiver: Receiver, method: str, path: str, status: int, template: str) -> None:
    with running_asgi(track(receiver)) as url:
        assert httpx2.request(method, url + path).status_code == status
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert (event["method"], event["url_path"], event["response_status_code"]) == (method, template, status)


def test_an_exception_is_a_500_and_the_host_answers_as_without(receiver: Receiver) -> None:
    with running_asgi(track(receiver)) as url:
        assert httpx2.get(f"{url}/broken").status_code == 500
        with pytest.raises(httpx2.RemoteProtocolError):
            httpx2.get(f"{url}/stream?broken=true")
        receiver.wait(lambda it: len(it.events) == 2)
    assert receiver.paths() == ["GET /broken", "GET /stream"]
    assert {event["response_status_code"] for event in receiver.events.values()} == {500}


def test_a_stream_is_timed_to_its_end(receiver: Receiver) -> None:
    with running_asgi(track(receiver)) as url:
        assert httpx2.get(f"{url}/stream").content == b"part" * 4
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert event["response_status_code"] == 200
    assert event["response_time_ms"] >= 200


def test_a_client_that_leaves_is_a_499(receiver: Receiver) -> None:
    with running_asgi(track(receiver)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.recv(100)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort")
            receiver.wait(lambda it: len(it.events) == 1)
        receiver.wait(lambda it: len(it.events) == 2)
    assert receiver.paths() == ["GET /endless", "POST /echo"]
    assert {event["response_status_code"] for event in receiver.events.values()} == {499}


def test_the_application_reads_its_body_itself(receiver: Receiver) -> None:
    with running_asgi(track(receiver)) as url:
        assert httpx2.post(f"{url}/echo", content=b"x" * 1_000_000).json() == {"length": 1_000_000}
        receiver.wait(lambda it: len(it.events) == 1)


def test_many_clients_at_once_are_counted_once_each(receiver: Receiver) -> None:
    def ask(number: int) -> int:
        return client.get(f"{url}/v1/users/{number}").status_code

    with running_asgi(track(receiver)) as url, ThreadPoolExecutor(16) as pool, httpx2.Client() as client:
        assert set(pool.map(ask, range(400))) == {200}
        receiver.wait(lambda it: len(it.events) == 400)
    assert (receiver.duplicates, receiver.dropped) == (0, 0)


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Inner:
    """An application that remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, object, object]] = []

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.calls.append((scope, receive, send))
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.shutdown.complete"})


async def receive_nothing() -> MutableMapping[str, Any]:
    return {"type": "http.request"}


@pytest.mark.parametrize("kind", ["websocket", "webtransport"])
async def test_other_scopes_pass_through_untouched(receiver: Receiver, kind: str) -> None:
    async def send(_message: MutableMapping[str, Any]) -> None: ...

    inner, scope = Inner(), {"type": kind, "path": "/", "headers": []}
    await TrackMiddleware(inner, api_key=KEY, url=receiver.url)(scope, receive_nothing, send)
    assert inner.calls == [(scope, receive_nothing, send)]
    assert inner.calls[0][0] is scope
    assert scope == {"type": kind, "path": "/", "headers": []}


async def test_messages_of_the_lifespan_pass_through(receiver: Receiver) -> None:
    sent: list[object] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    inner, scope = Inner(), {"type": "lifespan"}
    await TrackMiddleware(inner, api_key=KEY, url=receiver.url)(scope, receive_nothing, send)
    assert inner.calls[0][:2] == (scope, receive_nothing)
    assert sent == [{"type": "lifespan.shutdown.complete"}]


async def test_a_cancelled_request_is_a_499(receiver: Receiver) -> None:
    async def wait_for_ever(_scope: object, _receive: object, _send: object) -> None:
        await asyncio.Event().wait()

    app = TrackMiddleware(wait_for_ever, api_key=KEY, url=receiver.url)
    scope = {"type": "http", "method": "GET", "headers": []}

    async def send(_message: MutableMapping[str, Any]) -> None: ...

    task = asyncio.create_task(app(scope, receive_nothing, send))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(receiver.wait, lambda it: len(it.events) == 1)
    assert [event["response_status_code"] for event in receiver.events.values()] == [499]


async def test_without_a_key_everything_passes_through(receiver: Receiver) -> None:
    async def send(_message: MutableMapping[str, Any]) -> None: ...

    inner, scope = Inner(), {"type": "http", "path": "/", "headers": []}
    await TrackMiddleware(inner, url=receiver.url)(scope, receive_nothing, send)
    assert inner.calls == [(scope, receive_nothing, send)]


def test_a_consumer_that_fails_costs_its_value_only(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    def consumer(_scope: object) -> str:
        raise LookupError("no such header")

    with running_asgi(track(receiver, consumer=consumer)) as url:
        assert [httpx2.get(url).status_code for _ in range(3)] == [200] * 3
        receiver.wait(lambda it: len(it.events) == 3)
    assert all("consumer" not in event for event in receiver.events.values())
    assert len([record for record in caplog.records if record.name == "device_statistics_track"]) == 1


def test_what_waits_is_sent_when_the_lifespan_ends(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("device_statistics_track.backlog.FLUSH_SECONDS", 3600.0)
    ended: list[int] = []

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        ended.append(len(receiver.events))

    app = Starlette(routes=[Route("/raw/{x}", raw_text)], lifespan=lifespan)
    app.add_middleware(TrackMiddleware, api_key=KEY, url=receiver.url)
    with running_asgi(app) as url:
        httpx2.get(f"{url}/raw/1")
    assert ended == [0]
    assert receiver.paths() == ["GET /raw/{x}"]
