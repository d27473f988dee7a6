"""Starts uvicorn with this product's protocol class, limits and time-outs."""

import os
import signal
import sys
from contextlib import ExitStack

import uvicorn

from servicekit.metrics.exposition import served_metrics
from servicekit.protocol.strict_http import StrictHttpProtocol
from servicekit.service.metrics import FOLDER_VARIABLE

# Below the 60 s that Kubernetes grants after SIGTERM, less the 15 s its preStop hook sleeps.
GRACEFUL_SECONDS_MAX = 20
# A worker that says nothing for so long is killed and replaced. On a loaded machine one may need more than the 5 s of
# uvicorn until it can speak, and would be replaced by one that needs as long.
WORKER_SILENCE_SECONDS_MAX = 20


def serve(
    factory: str,
    *,
    host: str,
    port: int,
    keep_alive_seconds: int,
    in_flight_max: int,
    workers: int = 1,
    metrics_port: int | None = None,
) -> None:
    """Serve the ASGI application that `factory` ("module:function") makes, until SIGTERM.

    `in_flight_max` applies to each worker. `metrics_port` answers scrapes with the metrics of all workers.
    """
    # After an orderly shutdown uvicorn raises the signal again for the previous handler. This one exits with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as undo:
        if metrics_port is not None:
            # The workers, which are made by spawning, get it with the rest of the environment.
            try:
                folder = undo.enter_context(served_metrics(host, metrics_port))
            except OSError as error:
                sys.exit(f"METRICS_PORT {metrics_port} cannot be listened on: {error.strerror}")
            os.environ[FOLDER_VARIABLE] = str(folder)
        _run(factory, host, port, keep_alive_seconds, in_flight_max, workers)


def _run(factory: str, host: str, port: int, keep_alive_seconds: int, in_flight_max: int, workers: int) -> None:
    uvicorn.run(
        factory,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http=StrictHttpProtocol,
        ws="none",
        access_log=False,  # RequestLog writes them
        log_config=None,
        server_header=False,
        proxy_headers=False,  # only the rate limit needs the client's address, and reads it by its own rules
        backlog=4096,
        limit_concurrency=in_flight_max,  # LoadSheddingProtocol counts requests, not connections
        timeout_keep_alive=keep_alive_seconds,
        timeout_graceful_shutdown=GRACEFUL_SECONDS_MAX,
        timeout_worker_healthcheck=WORKER_SILENCE_SECONDS_MAX,
    )
