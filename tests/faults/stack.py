"""The product with a proxy in each of its connections, and every part of it startable and breakable by name.

clients ─► statistics-api ─► [link] ─► device-registration-api ─► [database link] ─► postgresql
                 └──────────────────────── reads ────────────────►
"""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from local.database import base_environment, migrate
from local.ports import free_port
from local.postgres import Postgres, wheel_binaries
from local.services import REGISTRATION_API, STATISTICS_API, Service, registration_service, statistics_service
from tests.faults.processes import signal_tree, tree
from tests.faults.proxy import TcpProxy
from tests.servers import DELIVERED, READER, WRITER, MigratedDatabase, Programs, finished_command

DATABASE = "postgresql"
SERVICES = (STATISTICS_API, REGISTRATION_API)
# The rig takes every slot in one of its faults: few are taken sooner.
CONNECTIONS_MAX = 40
SABOTAGE = Path(__file__).parent / "sabotage"
_POSTGRES_SETTINGS = MappingProxyType({"max_connections": str(CONNECTIONS_MAX), "shared_buffers": "64MB"})
_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass
class Stack:
    """Parts by name. What waits for a process runs in a thread, so that clients and proxies go on meanwhile."""

    folder: Path
    # The server of this stack alone; None: the database is on a server that somebody else runs.
    postgres: Postgres | None
    database: MigratedDatabase
    link: TcpProxy
    database_link: TcpProxy
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where clients send their events."""
        return self.services[STATISTICS_API].url

    @property
    def admin_url(self) -> str:
        """The administrator's way to the database: past the proxy."""
        return self.database.admin_url

    @property
    def own_postgres(self) -> Postgres:
        """The server of this stack, to be broken."""
        assert self.postgres is not None, "this server is somebody else's"
        return self.postgres

    @property
    def writer_env(self) -> dict[str, str]:
        """The writer's way to the database, past the proxy."""
        return WRITER.environment(self.admin_url)

    @property
    def clock_files(self) -> dict[str, Path]:
        """For each service, where its clock's error stands in seconds (see sabotage/stepped_clock.py)."""
        return {name: self.folder / f"clock-{name}" for name in SERVICES}

    async def start(self, name: str) -> None:
        """Start a part, unless it is alive, and return when it is ready."""
        if name == DATABASE:
            await asyncio.to_thread(self.own_postgres.start)
        else:
            service = self.services[name]
            await asyncio.to_thread(service.start)
            await asyncio.to_thread(service.wait_ready)

    async def stop(self, name: str) -> None:
        """End a part in order: SIGTERM to a service, fast shutdown for the database."""
        await asyncio.to_thread(self.own_postgres.stop if name == DATABASE else self.services[name].stop)

    async def kill(self, name: str) -> None:
        """SIGKILL a part and everything it started."""
        await asyncio.to_thread(self.own_postgres.kill if name == DATABASE else self.services[name].kill)

    async def restart(self, name: str) -> None:
        """Stop in order and start again; return when it is ready."""
        if name == DATABASE:
            await asyncio.to_thread(self.own_postgres.restart)
        else:
            await self.stop(name)
            await self.start(name)

    def pause(self, name: str) -> None:
        """SIGSTOP a part: alive, with its connections open, and deaf."""
        signal_tree(self.pid(name), signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT after `pause`."""
        signal_tree(self.pid(name), signal.SIGCONT)

    def pid(self, name: str) -> int:
        """The process id of a part that is alive."""
        pid = self.own_postgres.pid if name == DATABASE else self.services[name].pid
        assert pid is not None, f"{name} is not alive"
        return pid

    def processes(self) -> list[int]:
        """Every process of every part that is alive."""
        parts = [self.postgres and self.postgres.pid, *(service.pid for service in self.services.values())]
        return [each for pid in parts if pid for each in tree(pid)]

    def service_processes(self) -> dict[str, list[int]]:
        """Every process of each service that is alive."""
        return {name: tree(service.pid) if service.pid else [] for name, service in self.services.items()}

    async def operator_command(self, *arguments: str) -> tuple[bool, str]:
        """Run one of the private service's commands; whether it succeeded, and what it printed."""
        finished = await asyncio.to_thread(finished_command, self.writer_env, *arguments)
        return finished.returncode == 0, finished.stdout + finished.stderr


@asynccontextmanager
async def running_stack(  # noqa: PLR0913 - the parts of a stack, by name
    folder: Path,
    *,
    public_workers: int = 2,
    postgres_settings: Mapping[str, str] = _NO_SETTINGS,
    postgres_folder: Path | None = None,
    database: MigratedDatabase | None = None,
    bare: bool = False,
    public_settings: Mapping[str, str] = _NO_SETTINGS,
    programs: Programs = DELIVERED,
) -> AsyncIterator[Stack]:
    """A stack with a database server of its own, below `folder`; everything is stopped at the end.

    `database` is one of another server, which is migrated and has what `programs` need. No proxy is before it.
    `bare`: no proxies between the parts and no clocks to step, for figures of speed. `public_settings` are environment
    variables of the public service; `programs` are what is started.
    """
    async with AsyncExitStack() as undo:
        postgres = None
        if database is None:
            settings = {**_POSTGRES_SETTINGS, **postgres_settings}
            place = postgres_folder or folder / "postgres"
            postgres = Postgres(place, wheel_binaries(), tcp_port=free_port(), settings=settings)
            undo.callback(postgres.stop)
            await asyncio.to_thread(postgres.start)
            database = MigratedDatabase(postgres.url("device_statistics"))
            await asyncio.to_thread(migrate, database.admin_url, WRITER, READER, base_environment())
            await asyncio.to_thread(programs.install, database)
        database_link = await undo.enter_async_context(TcpProxy(int(database.writer_env["DB_PORT"])))
        private_port = free_port()
        link = await undo.enter_async_context(TcpProxy(private_port))
        stack = Stack(folder, postgres, database, link, database_link)

        token = secrets.token_hex(24)
        clock = [] if bare else ["stepped_clock"]
        by_proxy = {} if bare or postgres is None else {"DB_PORT": str(database_link.port)}
        stack.services[REGISTRATION_API] = registration_service(
            _environment(stack, REGISTRATION_API, clock),
            port=private_port,
            database=WRITER.environment(stack.admin_url) | by_proxy,
            service_token=token,
            log=folder / f"{REGISTRATION_API}.log",
        )
        stack.services[STATISTICS_API] = statistics_service(
            _environment(stack, STATISTICS_API, clock) | dict(public_settings),
            port=free_port(),
            database=READER.environment(stack.admin_url) | by_proxy,
            service_token=token,
            device_api_url=f"http://127.0.0.1:{private_port if bare else link.port}",
            workers=public_workers,
            log=folder / f"{STATISTICS_API}.log",
        )
        for name in (REGISTRATION_API, STATISTICS_API):
            programs.choose(stack.services[name])
            undo.push_async_callback(stack.kill, name)
            await stack.start(name)
        yield stack


def _environment(stack: Stack, name: str, sabotage: Sequence[str]) -> dict[str, str]:
    clock = stack.clock_files[name]
    clock.write_bytes(bytes(8))  # a double: 0.0
    return base_environment() | {
        "LOG_FORMAT": "json",
        "PYTHONPATH": str(SABOTAGE),
        "SABOTAGE_MODULES": ",".join(sabotage),
        "CLOCK_FILE": str(clock),
    }
