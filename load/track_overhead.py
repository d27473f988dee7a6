"""What `device-statistics-track` costs an application for each request: `python -m load.track_overhead`.

A FastAPI application is called in this process with and without the middleware, in turns. The middleware reports to a
receiver in another process, over a real socket. OVERHEAD_REQUESTS (3,000) is the length of one round.
"""

import asyncio
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from statistics import median
from typing import Any, NamedTuple

from fastapi import FastAPI

from device_statistics_track import TrackMiddleware
from load.figures import Figure, table

_ROUNDS = 7
_SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/users/7",
    "raw_path": b"/users/7",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"user-agent", b"load"), (b"host", b"localhost")],
}


class Cost(NamedTuple):
    """Microseconds for one request: on the clock, and of the processor, with the sender's thread."""

    elapsed: float
    processor: float


class _Receiver(BaseHTTPRequestHandler):
    """Answers each batch as stored."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Count the lines and forget them."""
        body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
        answer = {"registered": body.count(b"\n"), "duplicate": 0, "rejected": 0, "results": []}
        encoded = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden method
        """Nothing."""


def main() -> None:
    """Print the figures as a table."""
    requests = int(os.environ.get("OVERHEAD_REQUESTS", "3000"))
    with _receiver() as url:
        plain = new_app()
        tracked = new_app()
        tracked.add_middleware(TrackMiddleware, api_key="key-of-the-benchmark", url=url)
        off = new_app()
        off.add_middleware(TrackMiddleware, api_key="")
        rounds = asyncio.run(measure([plain, tracked, off], requests))
    print(table(list(figures(rounds))))


def new_app() -> FastAPI:
    """An application with one route, which does nothing."""
    app = FastAPI()

    @app.get("/users/{user_id}")
    async def user(user_id: int) -> dict[str, int]:
        return {"id": user_id}

    return app


async def measure(apps: list[FastAPI], requests: int) -> list[list[Cost]]:
    """The cost of each application in each round; a first round only warms up."""
    rounds = []
    for _ in range(1 + _ROUNDS):
        rounds.append([await _one_round(app, requests) for app in apps])
        await asyncio.sleep(1.5)  # what the sender still holds belongs to no later round
    return rounds[1:]


def figures(rounds: list[list[Cost]]) -> Iterator[Figure]:
    """The difference to the plain application of the same round."""
    for name, index in (("with the middleware", 1), ("with the middleware, without a key", 2)):
        for kind in Cost._fields:
            plain = [getattr(each[0], kind) for each in rounds]
            other = [getattr(each[index], kind) for each in rounds]
            added = [after - before for before, after in zip(plain, other, strict=True)]
            detail = f"{median(other):.1f} - {median(plain):.1f}; rounds " + ", ".join(f"{each:.1f}" for each in added)
            yield Figure(f"{kind} time added to a request, {name}", median(added), None, "lower", detail, " µs")


async def _one_round(app: FastAPI, requests: int) -> Cost:
    elapsed, processor = time.perf_counter(), time.process_time()
    for _ in range(requests):
        await app({**_SCOPE}, _receive, _send)
    spent = time.perf_counter() - elapsed, time.process_time() - processor
    return Cost(*(seconds / requests * 1e6 for seconds in spent))


async def _receive() -> MutableMapping[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: MutableMapping[str, Any]) -> None:
    if message["type"] == "http.response.start" and message["status"] != 200:  # noqa: PLR2004
        raise RuntimeError("the application does not answer")


@contextmanager
def _receiver() -> Iterator[str]:
    command = [sys.executable, "-m", "load.track_overhead", "receive"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this module itself
        try:
            port = process.stdout.readline() if process.stdout else ""
            yield f"http://127.0.0.1:{int(port)}"
        finally:
            process.terminate()


def _receive_for_ever() -> None:
    with HTTPServer(("127.0.0.1", 0), _Receiver) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["receive"]:
        _receive_for_ever()
    else:
        main()
