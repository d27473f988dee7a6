"""A small TCP balancer: new connections go in turn to instances whose /readyz says yes, as a Kubernetes Service does.

It repeats nothing and knows no HTTP: what an instance breaks, its client sees.
"""

import asyncio
import itertools
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import httpx2

_PROBE_EVERY_SECONDS = 0.1
_PROBE_SECONDS_MAX = 2.0
_CHUNK_BYTES = 65_536


@dataclass
class _Instance:
    port: int
    is_ready: bool = False


class Balancer:
    """Listens on a free local port, `port`, in front of instances on `ports`."""

    def __init__(self, ports: list[int]) -> None:
        self._instances = [_Instance(port) for port in ports]
        self._turns = itertools.count()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def is_ready(self, port: int) -> bool:
        """Whether an instance gets connections now."""
        return any(each.is_ready for each in self._instances if each.port == port)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        for instance in self._instances:
            self._tasks.add(asyncio.create_task(self._probe(instance)))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _probe(self, instance: _Instance) -> None:
        async with httpx2.AsyncClient(timeout=_PROBE_SECONDS_MAX, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"http://127.0.0.1:{instance.port}/readyz")
                    instance.is_ready = answer.status_code == httpx2.codes.OK
                except httpx2.TransportError:
                    instance.is_ready = False
                await asyncio.sleep(_PROBE_EVERY_SECONDS)

    async def _serve(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ready = [each for each in self._instances if each.is_ready]
        try:
            if ready:
                port = ready[next(self._turns) % len(ready)].port
                reader, server = await asyncio.open_connection("127.0.0.1", port)
                try:
                    await asyncio.gather(_pump(client_reader, server), _pump(reader, client))
                finally:
                    server.close()
        except (OSError, asyncio.CancelledError):
            pass  # one end is gone, or the balancer ends; below, so is the other
        finally:
            client.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        writer.write(data)
        await writer.drain()
    with suppress(OSError):  # gone meanwhile
        writer.write_eof()
