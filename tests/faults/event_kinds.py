"""What the rig must know of an event kind: how to send one, how to read a count, and which rows it left.

Each kind of tests/kinds/served_kinds.py is sent in two ways, singly and in batches; writers, faults, checker and
reports stay as they are.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol

import httpx2
import psycopg2
from psycopg2 import sql

from tests.kinds.served_kinds import KINDS as SERVED_KINDS
from tests.kinds.served_kinds import ServedKind


class EventKind(Protocol):
    """An identity is the rig's own name for an event: unique, found again in the row that the event leaves."""

    name: str
    # Where events count, for example their device types.
    groups: Sequence[str]
    # How an event in good order is answered, one that is refused for what it is, and one under a key of another.
    recorded_status: int
    refused_status: int
    conflict_status: int

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str | None, seconds_max: float
    ) -> httpx2.Response:
        """Send one event in good order, under the client's own `key` for it if it has one."""

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        """Send one that must be refused with `refused_status` and leave no row."""

    def replayed(self, answer: httpx2.Response) -> bool:
        """Whether an answer with `recorded_status` says that the event had been recorded before."""

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        """Ask the product for the count of `group`; 200."""

    def count(self, answer: httpx2.Response, group: str) -> int:
        """The count of `group` in that answer."""

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        """How many rows each identity that begins with `run` has, from the database itself."""

    def counts(self, admin_url: str) -> dict[str, int]:
        """The total of each group, from the database itself."""


class SingleEvents:
    """Events that are posted one by one."""

    def __init__(self, kind: ServedKind) -> None:
        self.kind = kind
        self.name = kind.name
        self.groups = kind.groups
        self.recorded_status = kind.recorded_status
        self.refused_status = kind.refused_status
        self.conflict_status: int = httpx2.codes.CONFLICT

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str | None, seconds_max: float
    ) -> httpx2.Response:
        headers = {**self.kind.headers} if key is None else {**self.kind.headers, "Idempotency-Key": key}
        return await client.post(
            self.kind.path, json=self.kind.body(identity, group), headers=headers, timeout=seconds_max
        )

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        body = self.kind.body(identity, self.groups[0]) | dict(self.kind.refusable)
        return await client.post(self.kind.path, json=body, headers={**self.kind.headers, "Idempotency-Key": key})

    def replayed(self, answer: httpx2.Response) -> bool:
        return answer.headers.get("idempotent-replayed") == "true"

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        del group
        return await client.get(self.kind.counts_path, headers=self.kind.headers)

    def count(self, answer: httpx2.Response, group: str) -> int:
        return self.kind.counts(answer.json()).get(group, 0)

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        statement = sql.SQL("SELECT {identity}, count(*) FROM {fact} WHERE starts_with({identity}, %(run)s) GROUP BY 1")
        names = {"identity": sql.Identifier(self.kind.identity_column), "fact": sql.Identifier(self.kind.fact)}
        return Counter(dict(select(admin_url, statement.format(**names), {"run": run})))

    def counts(self, admin_url: str) -> dict[str, int]:
        statement = sql.SQL("SELECT {group}::text, sum(event_count)::int FROM {total} GROUP BY 1")
        names = {
            "group": sql.Identifier(self.kind.group_column),
            "total": sql.Identifier(f"{self.kind.fact}_{self.kind.rollup}"),
        }
        return dict(select(admin_url, statement.format(**names), {}))


class EventBatches(SingleEvents):
    """Batches of one item each: another route, another transaction, the same promises.

    What a single event is told by its status, an item is told in the answer.
    """

    def __init__(self, kind: ServedKind) -> None:
        super().__init__(kind)
        self.name = f"{kind.name}/batch"
        self.recorded_status = httpx2.codes.OK

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str | None, seconds_max: float
    ) -> httpx2.Response:
        own = {} if key is None else {"eventId": key}
        answer = await self._send(client, self.kind.body(identity, group) | own, seconds_max)
        return _with_status_of_item(answer, self.conflict_status)

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        body = self.kind.body(identity, self.groups[0]) | dict(self.kind.refusable) | {"eventId": key}
        return _with_status_of_item(await self._send(client, body), self.refused_status)

    def replayed(self, answer: httpx2.Response) -> bool:
        return bool(answer.json()["duplicate"])

    async def _send(
        self, client: httpx2.AsyncClient, item: dict[str, Any], seconds_max: float | None = None
    ) -> httpx2.Response:
        timeout = httpx2.USE_CLIENT_DEFAULT if seconds_max is None else seconds_max
        return await client.post(f"{self.kind.path}/batch", json=[item], headers=self.kind.headers, timeout=timeout)


def _with_status_of_item(answer: httpx2.Response, rejected_status: int) -> httpx2.Response:
    if answer.status_code == httpx2.codes.OK and answer.json()["rejected"]:
        answer.status_code = rejected_status
    return answer


# Everything that a fault run can be about, the delivered kinds first.
KINDS: Sequence[SingleEvents] = tuple(way(kind) for kind in SERVED_KINDS for way in (SingleEvents, EventBatches))
AUTH_EVENTS, *_ = KINDS


def kind_named(name: str) -> SingleEvents:
    """The kind of that name."""
    (found,) = [kind for kind in KINDS if kind.name == name]
    return found


def select(admin_url: str, statement: str | sql.Composable, parameters: dict[str, object]) -> list[Any]:
    """What the database itself holds, past the product."""
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
