"""Rolling restarts: two instances of each service, each pair behind a balancer, restarted one after the other."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import httpx2

from local.child_process import spawn
from local.database import base_environment, migrate
from local.ports import free_port
from local.postgres import Postgres, wheel_binaries
from local.services import Service, Spawn, registration_service, statistics_service
from tests.faults.balancer import Balancer
from tests.faults.event_kinds import EventKind
from tests.servers import DELIVERED, READER, WRITER, MigratedDatabase, Programs

INSTANCES = 2
CLIENTS = 12
ANSWER_SECONDS_MAX = 10.0
# What each instance is granted between SIGTERM and its end: longer than the balancer takes to notice.
DRAIN_SECONDS = 1.0
PAUSE_SECONDS = 0.01
_NOTICED_SECONDS_MAX = 20.0


@dataclass
class Fleet:
    """Both services twice, and where clients reach the public pair."""

    admin_url: str
    publics: list[Service]
    privates: list[Service]
    public_balancer: Balancer
    private_balancer: Balancer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.public_balancer.port}"


@dataclass
class Restarts:
    """What clients saw, who repeated nothing."""

    requests: int = 0
    restarts: int = 0
    failures: list[str] = field(default_factory=list)
    # Identities of what was acknowledged, by the number of the client.
    recorded: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    begun: float = field(default_factory=time.monotonic)
    ended: float = 0.0


@asynccontextmanager
async def running_fleet(
    folder: Path, programs: Programs = DELIVERED, spawns: Mapping[str, Spawn] = MappingProxyType({})
) -> AsyncIterator[Fleet]:
    """Two of each, with a database server of their own below `folder`; everything is stopped at the end.

    `spawns`: by the name of a service, what starts its processes.
    """
    postgres = Postgres(folder / "postgres", wheel_binaries(), tcp_port=free_port())
    async with AsyncExitStack() as undo:
        undo.callback(postgres.stop)
        await asyncio.to_thread(postgres.start)
        admin_url = postgres.url("device_statistics")
        await asyncio.to_thread(migrate, admin_url, WRITER, READER, base_environment())
        await asyncio.to_thread(programs.install, MigratedDatabase(admin_url))
        env = base_environment() | {"LOG_FORMAT": "json", "DRAIN_SECONDS": str(DRAIN_SECONDS)}
        token = "token-of-the-fleet"  # noqa: S105 - of these processes alone
        privates = [
            registration_service(
                env,
                port=free_port(),
                database=WRITER.environment(admin_url),
                service_token=token,
                log=folder / f"private-{index}.log",
            )
            for index in range(INSTANCES)
        ]
        await _start(privates, programs, spawns, undo)
        private_balancer = await undo.enter_async_context(Balancer([each.port for each in privates]))
        publics = [
            statistics_service(
                env,
                port=free_port(),
                database=READER.environment(admin_url),
                service_token=token,
                device_api_url=f"http://127.0.0.1:{private_balancer.port}",
                log=folder / f"public-{index}.log",
            )
            for index in range(INSTANCES)
        ]
        await _start(publics, programs, spawns, undo)
        public_balancer = await undo.enter_async_context(Balancer([each.port for each in publics]))
        fleet = Fleet(admin_url, publics, privates, public_balancer, private_balancer)
        for service in (*publics, *privates):
            await _until_balanced(fleet, service)
        yield fleet


async def rolling_restarts(fleet: Fleet, kinds: Sequence[EventKind], rounds: int, requests_min: int) -> Restarts:
    """Restart every instance `rounds` times under load, and go on until `requests_min` requests were made.

    The clients take turns with the kinds.
    """
    seen = Restarts()
    stop = asyncio.Event()
    clients = [
        asyncio.create_task(_client(fleet.url, number, kinds[number % len(kinds)], stop, seen))
        for number in range(CLIENTS)
    ]
    try:
        for _ in range(rounds):
            # The two services at the same time, their two instances one after the other.
            for pair in zip(fleet.publics, fleet.privates, strict=True):
                await asyncio.gather(*(_restart(fleet, service, seen) for service in pair))
        while seen.requests < requests_min and not all(client.done() for client in clients):  # noqa: ASYNC110 - a counter
            await asyncio.sleep(PAUSE_SECONDS)
    finally:
        stop.set()
        await asyncio.gather(*clients)
    seen.ended = time.monotonic()
    return seen


def unlike_acknowledged(fleet: Fleet, kinds: Sequence[EventKind], seen: Restarts) -> list[str]:
    """One sentence for each client whose rows are not what it was told."""
    return [
        f"the rows of client {number} ({kind.name}) are not what was acknowledged"
        for number in range(CLIENTS)
        for kind in [kinds[number % len(kinds)]]
        if kind.rows(fleet.admin_url, f"rolling-{number}-") != dict.fromkeys(seen.recorded[number], 1)
    ]


async def _start(
    services: Sequence[Service], programs: Programs, spawns: Mapping[str, Spawn], undo: AsyncExitStack
) -> None:
    for service in services:
        programs.choose(service).start_by(spawns.get(service.name, spawn))
        undo.callback(service.kill)
        service.start()
    for service in services:
        await asyncio.to_thread(service.wait_ready)


async def _restart(fleet: Fleet, service: Service, seen: Restarts) -> None:
    await asyncio.to_thread(service.restart)
    await _until_balanced(fleet, service)
    seen.restarts += 1


async def _until_balanced(fleet: Fleet, service: Service) -> None:
    deadline = time.monotonic() + _NOTICED_SECONDS_MAX
    while not any(each.is_ready(service.port) for each in (fleet.public_balancer, fleet.private_balancer)):
        assert time.monotonic() < deadline, f"the balancer never saw {service.name} ready"
        await asyncio.sleep(PAUSE_SECONDS)


async def _client(url: str, number: int, kind: EventKind, stop: asyncio.Event, seen: Restarts) -> None:
    count, group = 0, kind.groups[1]
    async with httpx2.AsyncClient(base_url=url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        while not stop.is_set():
            count += 1
            identity = f"rolling-{number}-{count}"
            seen.requests += 1
            try:
                if count % 5 == 0:
                    answer, expected = await kind.read_count(client, group), int(httpx2.codes.OK)
                else:
                    answer = await kind.send(client, identity, group, None, ANSWER_SECONDS_MAX)
                    expected = kind.recorded_status
                if answer.status_code != expected:
                    seen.failures.append(f"{kind.name}: {answer.status_code} {answer.text[:100]}")
                elif count % 5:
                    seen.recorded[number].append(identity)
            except httpx2.TransportError as error:
                seen.failures.append(repr(error))
            await asyncio.sleep(PAUSE_SECONDS)
