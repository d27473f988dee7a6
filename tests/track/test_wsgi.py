"""A real Flask application reports to a real receiver."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from flask import Blueprint, Flask, Response, request
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from device_statistics_track import TrackWSGIMiddleware
from tests.track.receiver import KEY, Receiver
from tests.track.servers import running_wsgi

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

pytestmark = pytest.mark.usefixtures("hasty")


class Close:
    """Counts how often the server has closed the body."""

    count = 0


def new_application() -> Flask:
    app = Flask("host")
    blue = Blueprint("blue", "blue", url_prefix="/blue")

    @app.get("/")
    def root() -> str:
        return "root"

    @app.get("/users/<int:user_id>")
    def user(user_id: int) -> dict[str, int]:
        return {"id": user_id}

    @blue.get("/<name>")
    def blueprint(name: str) -> str:
        return name

    @app.post("/echo")
    def echo() -> dict[str, int]:
        return {"length": len(request.get_data())}

    @app.get("/broken")
    def broken() -> str:
        raise RuntimeError("an error of the application")

    @app.get("/stream")
    def stream() -> Response:
        def parts() -> Iterator[bytes]:
            for _ in range(4):
                time.sleep(0.05)
                yield b"part"

        return Response(parts())

    @app.get("/endless")
    def endless() -> Response:
        def parts() -> Iterator[bytes]:
            try:
                while True:
                    time.sleep(0.01)
                    yield b"part" * 1000
            finally:
                Close.count += 1

        return Response(parts())

    app.register_blueprint(blue)
    return app


def track(
    receiver: Receiver, *, user_agent: bool = False, consumer: Callable[[dict[str, Any]], str | None] | None = None
) -> Flask:
    app = new_application()
    tracked = TrackWSGIMiddleware(app.wsgi_app, api_key=KEY, url=receiver.url, user_agent=user_agent, consumer=consumer)
    app.wsgi_app = tracked  # type: ignore[method-assign]  # as Flask's documents do it
    return app


@pytest.mark.parametrize(
    ("method", "path", "status", "template"),
    [
        ("GET", "/?q=1", 200, "/"),
        ("HEAD", "/", 200, "/"),
        ("GET", "/users/7", 200, "/users/<int:user_id>"),
        ("GET", "/users/seven", 404, "(unmatched)"),
        ("GET", "/blue/sky", 200, "/blue/<name>"),
        ("GET", "/broken", 500, "/broken"),
        ("GET", "/nothing", 404, "(unmatched)"),
    ],
)
def test_the_path_is_the_rule(receiver: Receiver, method: str, path: str, status: int, template: str) -> None:
    with running_wsgi(track(receiver)) as url:
        assert httpx2.request(method, url + path).status_code == status
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert (event["method"], event["url_path"], event["response_status_code"]) == (method, template, status)
    assert "user_agent" not in event


def test_a_mounted_application_has_the_whole_path(receiver: Receiver) -> None:
    mounts = DispatcherMiddleware(new_application(), {"/inner": new_application()})
    with running_wsgi(TrackWSGIMiddleware(mounts, api_key=KEY, url=receiver.url)) as url:
        assert httpx2.get(f"{url}/inner/users/7").json() == {"id": 7}
        assert httpx2.get(f"{url}/users/7").json() == {"id": 7}
        receiver.wait(lambda it: len(it.events) == 2)
    assert receiver.paths() == ["GET /inner/users/<int:user_id>", "GET /users/<int:user_id>"]


def test_a_stream_is_timed_to_its_end(receiver: Receiver) -> None:
    with running_wsgi(track(receiver)) as url:
        assert httpx2.get(f"{url}/stream").content == b"part" * 4
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert event["response_time_ms"] >= 200


def test_a_client_that_leaves_is_a_499_and_the_body_is_closed(receiver: Receiver) -> None:
    closed = Close.count
    with running_wsgi(track(receiver)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.recv(100)
        receiver.wait(lambda it: len(it.events) == 1)
    assert [event["response_status_code"] for event in receiver.events.values()] == [499]
    assert Close.count == closed + 1


def test_an_exception_of_a_bare_application_reaches_its_server(receiver: Receiver) -> None:
    def broken(_environ: object, _start_response: object) -> list[bytes]:
        raise LookupError("bare")

    app = TrackWSGIMiddleware(broken, api_key=KEY, url=receiver.url)
    with pytest.raises(LookupError, match="bare"):
        app({"REQUEST_METHOD": "GET"}, lambda *_: lambda _data: None)
    receiver.wait(lambda it: len(it.events) == 1)
    assert [event["response_status_code"] for event in receiver.events.values()] == [500]


def test_a_list_keeps_its_length(receiver: Receiver) -> None:
    def plain(_environ: object, start_response: "StartResponse") -> list[bytes]:
        start_response("204 No Content", [])
        return [b"one"]

    app = TrackWSGIMiddleware(plain, api_key=KEY, url=receiver.url)
    body: Any = app({"REQUEST_METHOD": "GET"}, lambda *_: lambda _data: None)
    assert (len(body), list(body)) == (1, [b"one"])
    receiver.wait(lambda it: len(it.events) == 1)
    assert [event["response_status_code"] for event in receiver.events.values()] == [204]


def test_a_file_of_the_server_stays_its_own(receiver: Receiver) -> None:
    class Wrapper:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"file"])

    wrapper = Wrapper()

    def file(_environ: object, start_response: "StartResponse") -> Wrapper:
        start_response("200 OK", [])
        return wrapper

    app = TrackWSGIMiddleware(file, api_key=KEY, url=receiver.url)
    assert app({"REQUEST_METHOD": "GET", "wsgi.file_wrapper": Wrapper}, lambda *_: lambda _data: None) is wrapper
    receiver.wait(lambda it: len(it.events) == 1)


def test_the_body_and_options_pass(receiver: Receiver) -> None:
    app = track(receiver, user_agent=True, consumer=lambda environ: environ["HTTP_X_CONSUMER"])
    with running_wsgi(app) as url:
        headers = {"User-Agent": "Browser\t/1", "X-Consumer": "someone"}
        assert httpx2.post(f"{url}/echo", content=b"x" * 100_000, headers=headers).json() == {"length": 100_000}
        receiver.wait(lambda it: len(it.events) == 1)
    [event] = receiver.events.values()
    assert (event["user_agent"], event["consumer"]) == ("Browser/1", "someone")


def test_without_a_key_the_body_is_the_applications_own() -> None:
    result = [b"own"]
    app = TrackWSGIMiddleware(lambda _environ, _start_response: result, url="http://127.0.0.1:9")
    assert app({}, lambda *_: lambda _data: None) is result
