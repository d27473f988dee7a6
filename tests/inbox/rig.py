"""The product with an inbox in a second PostgreSQL server, every part of it startable and breakable by name."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg2
from typing_extensions import override

from local.database import base_environment, migrate
from local.ports import free_port
from local.postgres import Postgres, wheel_binaries
from local.services import REGISTRATION_API, Service
from tests.faults.event_kinds import EventBatches, SingleEvents
from tests.faults.stack import Stack, running_stack
from tests.kinds.served_kinds import WITH_SAMPLE, ServedKind
from tests.servers import READER, WRITER, MigratedDatabase, Programs

RESPOND_ASYNC = {"Prefer": "respond-async"}
LOGIN = {"INBOX_DB_USER": "test_inbox", "INBOX_DB_PASSWORD": "inbox-password-of-the-tests"}
DRAINED_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class WithInbox(Programs):
    """Programs whose `migrate` makes the inbox, too."""

    inbox_url: str = ""

    @override
    def install(self, database: MigratedDatabase) -> None:
        super().install(database)
        migrate(database.admin_url, WRITER, READER, base_environment() | inbox_environment(self.inbox_url))

    @override
    def choose(self, service: Service) -> Service:
        if service.name == REGISTRATION_API:
            service.env.update(inbox_environment(self.inbox_url))
        else:
            # Each process remembers the keys and devices of the requests that reached it, and nobody chooses which do.
            service.env["WORKERS"] = "1"
        return super().choose(service)


@dataclass
class StackWithInbox:
    """A stack, and the server of its inbox."""

    stack: Stack
    inbox: Postgres

    @property
    def url(self) -> str:
        """The administrator's way to the inbox."""
        return self.inbox.url("inbox")

    def rows(self, statement: str) -> list[Any]:
        """Run one statement of an administrator in the inbox."""
        return rows_at(self.url, statement)

    async def drained(self) -> None:
        """Return when nothing waits."""
        deadline = time.monotonic() + DRAINED_SECONDS_MAX
        waiting = "SELECT count(*) FROM inbox_entry WHERE refused_at IS NULL"
        while (found := await asyncio.to_thread(self.rows, waiting)) != [(0,)]:
            assert time.monotonic() < deadline, found
            await asyncio.sleep(_POLL_SECONDS)


class DeferrableEvents(SingleEvents):
    """Events of clients that agree to be counted later. A 202 is as good as the kind's own answer."""

    def __init__(self, kind: ServedKind) -> None:
        super().__init__(kind)
        self.deferred = 0

    @override
    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str | None, seconds_max: float
    ) -> httpx2.Response:
        client.headers.update(RESPOND_ASYNC)
        answer = await super().send(client, identity, group, key, seconds_max)
        if answer.status_code == httpx2.codes.ACCEPTED:
            self.deferred += 1
            answer.status_code = self.recorded_status
        return answer


class DeferrableBatches(DeferrableEvents, EventBatches):
    """The same, each event as a batch of its own."""

    @override
    def replayed(self, answer: httpx2.Response) -> bool:
        return bool(answer.json().get("duplicate"))


def inbox_environment(url: str) -> dict[str, str]:
    """What `migrate`, the private service and its commands read of an inbox."""
    return {"INBOX_DATABASE_URL": url, **LOGIN}


def rows_at(url: str, statement: str) -> list[Any]:
    """Run one statement, and commit."""
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def running_stack_with_inbox(folder: Path) -> AsyncIterator[StackWithInbox]:
    """The product with the sample kind, and two database servers, below `folder`."""
    async with AsyncExitStack() as undo:
        settings = {"max_connections": "40", "shared_buffers": "32MB"}
        inbox = Postgres(folder / "inbox", wheel_binaries(), tcp_port=free_port(), settings=settings)
        undo.callback(inbox.stop)
        await asyncio.to_thread(inbox.start)
        url = inbox.url("inbox")
        programs = WithInbox(WITH_SAMPLE.public, WITH_SAMPLE.private, WITH_SAMPLE.schema, inbox_url=url)
        stack = await undo.enter_async_context(running_stack(folder, programs=programs))
        yield StackWithInbox(stack, inbox)
