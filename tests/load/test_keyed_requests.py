"""The requests of load/keyed.lua, as a server sees them. They need wrk, which the tests do not require."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from load.write_loads import AUTH_EVENTS
from load.wrk import wrk

pytestmark = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
SCRIPT = Path(__file__).parents[2] / "load" / "keyed.lua"


class Listener(ThreadingHTTPServer):
    """Answers every request with one status and keeps its key and its body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str | None, str]] = []
        self.status = "200 OK"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/Log/auth"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert isinstance(self.server, Listener)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.seen.append((self.headers["Idempotency-Key"], body))
        # In one piece: a header and a body in two would wait for the client's delayed acknowledgement.
        self.wfile.write(f"HTTP/1.1 {self.server.status}\r\nContent-Length: 0\r\n\r\n".encode())

    def log_message(self, *_: object) -> None:
        """Nothing: a line a request would be the whole output of the test."""


@pytest.fixture
def server() -> Iterator[Listener]:
    with Listener() as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield listening
        listening.shutdown()
        thread.join()


def send(server: Listener, share: str) -> list[tuple[str | None, str]]:
    load = wrk(server.url, connections=4, seconds=2, script=SCRIPT, arguments=[AUTH_EVENTS.event, "run", share])
    # wrk makes one request that it does not send, and closes what is under way at its end.
    assert len(server.seen) <= load.different + load.repeated <= len(server.seen) + 5
    return server.seen


def test_a_repeated_key_comes_with_the_body_of_its_first_use(server: Listener) -> None:
    seen = send(server, "0.5")

    bodies: dict[str | None, set[str]] = {}
    for key, body in seen:
        bodies.setdefault(key, set()).add(body)
    assert None not in bodies
    assert all(len(each) == 1 for each in bodies.values())
    # The first 512 requests repeat nothing.
    assert 0.4 < 1 - (len(bodies) - 512) / (len(seen) - 512) < 0.6
    assert json.loads(seen[0][1])["deviceType"] == "iOS"


def test_without_replays_every_key_is_new(server: Listener) -> None:
    keys = [key for key, _ in send(server, "0.0")]

    assert len(set(keys)) == len(keys) > 512
    assert keys[0] is not None
    assert keys[0].startswith("run-")


def test_without_keys_no_request_has_one(server: Listener) -> None:
    assert {key for key, _ in send(server, "none")} == {None}


def test_a_run_in_which_a_key_is_refused_is_no_measurement(server: Listener) -> None:
    server.status = "409 Conflict"

    with pytest.raises(ValueError, match="requests fail"):
        send(server, "0.5")
