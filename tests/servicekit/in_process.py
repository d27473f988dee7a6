"""uvicorn's protocol class without a socket: a test feeds it bytes, and sees every write."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override
from uvicorn.server import ServerState

from servicekit.protocol.strict_http import StrictHttpProtocol


class RecordingTransport(asyncio.Transport):
    """Keeps what is written, and whether the protocol wants to read."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.is_closed = False
        self.is_paused = False

    @override
    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    @override
    def close(self) -> None:
        self.is_closed = True

    @override
    def is_closing(self) -> bool:
        return self.is_closed

    @override
    def pause_reading(self) -> None:
        self.is_paused = True

    @override
    def resume_reading(self) -> None:
        self.is_paused = False


def connect(
    app: ASGIApp, *, limit_concurrency: int | None = None, state: Mapping[str, object] = MappingProxyType({})
) -> tuple[StrictHttpProtocol, RecordingTransport]:
    """A connection to `app`, on the running event loop; `state` is what its lifespan would have yielded."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        limit_concurrency=limit_concurrency,
    )
    config.load()
    protocol = StrictHttpProtocol(config, ServerState(), dict(state), _loop=asyncio.get_running_loop())
    transport = RecordingTransport()
    protocol.connection_made(cast("asyncio.Transport", transport))
    return protocol, transport
