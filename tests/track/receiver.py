"""A receiver of batches over a real socket. It stores events by their id, as the product's route for batches does.

`misbehave` puts one behaviour in front of the next requests; each of them is used once.
"""

import gzip
import json
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "ds_live_key-of-the-tests"
PATH = "/api/v1/track/batch"
BATCH_ITEMS_MAX = 10_000
BATCH_BYTES_MAX = 4 * 1024 * 1024
WAIT_SECONDS_MAX = 20.0

Behaviour = Callable[["Handler"], bool]
"""Acts on a request. True when it has answered, or cut, the request."""


class Receiver(ThreadingHTTPServer):
    """What was received, and the threads that answer."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.events: dict[str, dict[str, Any]] = {}
        self.duplicates = 0
        self.dropped = 0
        self.requests = 0
        self.sizes: list[int] = []
        self.headers: list[Mapping[str, str]] = []
        self.batch_ids: set[str] = set()
        self.behaviours: deque[Behaviour] = deque()
        self.always: Behaviour | None = None
        self.refuse: Callable[[dict[str, Any]], bool] = lambda _event: False
        self.change = threading.Condition()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.connections = 0
        self._connections: set[socket.socket] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def misbehave(self, *behaviours: Behaviour) -> None:
        self.behaviours.extend(behaviours)

    def wait(self, condition: Callable[["Receiver"], bool]) -> None:
        """Wait until the condition holds. Raises AssertionError when it does not."""
        with self.change:
            assert self.change.wait_for(lambda: condition(self), WAIT_SECONDS_MAX), self.summary()

    def summary(self) -> str:
        return f"{len(self.events)} events, {self.dropped} dropped, {self.requests} requests"

    def paths(self) -> list[str]:
        return sorted(f"{event['method']} {event['url_path']}" for event in self.events.values())

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End as a killed process does: connections are closed too."""
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            reset(connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections += 1
        self._connections.add(connection)
        return connection, address

    def handle_error(self, request: object, client_address: object) -> None:
        """Cut connections are what the tests make."""

    def store(self, body: bytes, dropped: int, batch_id: str) -> dict[str, Any]:
        """Store a batch whole, and the count of dropped events once for each id of a batch."""
        items = [json.loads(line) for line in body.splitlines()]
        with self.change:
            results = []
            counts = {"registered": 0, "duplicate": 0, "rejected": 0}
            for index, item in enumerate(items):
                if self.refuse(item):
                    status = "rejected"
                elif item["eventId"] in self.events:
                    status = "duplicate"
                    assert self.events[item["eventId"]] == item
                    self.duplicates += 1
                else:
                    status = "registered"
                    self.events[item["eventId"]] = item
                counts[status] += 1
                if status != "registered":
                    results.append({"index": index, "status": status, "detail": status})
            if batch_id not in self.batch_ids:
                self.batch_ids.add(batch_id)
                self.dropped += dropped
            self.sizes.append(len(items))
            self.change.notify_all()
        return {**counts, "results": results}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Receiver
    timeout = 30

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        with server.change:
            server.requests += 1
            server.headers.append(dict(self.headers))
            behaviour = server.behaviours.popleft() if server.behaviours else server.always
            server.change.notify_all()
        if behaviour is None or not behaviour(self):
            self.accept()

    def accept(self) -> None:
        """Check what the product checks, and store."""
        body = gzip.decompress(self.body)
        if self.path != PATH:
            self.answer(404)
        elif self.headers["X-API-Key"] != KEY:
            self.answer(401)
        elif len(body) > BATCH_BYTES_MAX:
            self.answer(413)
        elif body.count(b"\n") > BATCH_ITEMS_MAX:
            self.answer(422)
        else:
            dropped = int(self.headers.get("X-Dropped-Events", "0"))
            self.answer(200, self.server.store(body, dropped, self.headers["Idempotency-Key"]))

    def answer(self, status: int, content: object = None, **headers: str) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Nothing: the tests read what was received."""


def status(code: int, **headers: str) -> Behaviour:
    """Answer with a status, and store nothing."""

    def act(handler: Handler) -> bool:
        handler.answer(code, **headers)
        return True

    return act


def cut(handler: Handler) -> bool:
    """Reset the connection, and store nothing."""
    handler.close_connection = True
    reset(handler.connection)
    return True


def store_and_cut(handler: Handler) -> bool:
    """Store the batch, and reset the connection before the answer: the outcome is unknown to the client."""
    body = gzip.decompress(handler.body)
    dropped = int(handler.headers.get("X-Dropped-Events", "0"))
    handler.server.store(body, dropped, handler.headers["Idempotency-Key"])
    return cut(handler)


def slow(seconds: float) -> Behaviour:
    """Answer late."""

    def act(_handler: Handler) -> bool:
        time.sleep(seconds)
        return False

    return act


def foreign_page(handler: Handler) -> bool:
    """Answer 200 as something else does that stands at this address."""
    handler.answer(200, {"hello": "world"})
    return True


def reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass  # it is closed already


@contextmanager
def running_receiver(port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver(port)
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
