"""Applications of other people under their real servers, in a thread."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from wsgiref.types import WSGIApplication

import uvicorn
from starlette.types import ASGIApp
from werkzeug.serving import make_server

from local.ports import free_port

START_SECONDS_MAX = 20.0


@contextmanager
def running_asgi(app: ASGIApp) -> Iterator[str]:
    """The URL of the application under uvicorn; its lifespan has ended afterwards."""
    port = free_port()
    server = uvicorn.Server(_config(app, port))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + START_SECONDS_MAX
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < end
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(START_SECONDS_MAX)
        assert not thread.is_alive()


def _config(app: ASGIApp, port: int) -> uvicorn.Config:
    # uvicorn has other names for the types of ASGI than Starlette has.
    return uvicorn.Config(cast("Any", app), host="127.0.0.1", port=port, log_level="error", lifespan="on")


@contextmanager
def running_wsgi(app: WSGIApplication) -> Iterator[str]:
    """The URL of the application under Werkzeug's server, with a thread for each request."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(START_SECONDS_MAX)
