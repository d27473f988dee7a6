"""What the rig must know of an event kind: how to send one, how to read a count, and which rows it left.

Each kind of tests/kinds/served_kinds.py is sent in two ways, singly and in batches; writers, faults, checker and
reports stay as they are.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Protocol

import httpx2
import psycopg2
from psycopg2 import sql

from tests.kinds.served_kinds import API_REQUESTS, API_REQUESTS_OF_OTHER_PROJECT, ServedKind
from tests.kinds.served_kinds import KINDS as SERVED_KINDS


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

    def facts(self, admin_url: str) -> dict[str, int]:
        """The facts of each group, counted one by one in the database itself."""


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
        event = self.kind.body(identity, group)
        return await client.post(
            self.kind.path_of(event), json=self.kind.content_of(event), headers=headers, timeout=seconds_max
        )

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        event = self.kind.body(identity, self.groups[0]) | dict(self.kind.refusable)
        headers = {**self.kind.headers, "Idempotency-Key": key}
        return await client.post(self.kind.path_of(event), json=self.kind.content_of(event), headers=headers)

    def replayed(self, answer: httpx2.Response) -> bool:
        return answer.headers.get("idempotent-replayed") == "true"

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        return await client.get(self.kind.counts_path_of(group), headers=self.kind.headers)

    def count(self, answer: httpx2.Response, group: str) -> int:
        return self.kind.count(answer.json(), group)

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        statement = sql.SQL(
            "SELECT {identity}, count(*) FROM {fact} JOIN project USING (project_id)"
            " WHERE project_key = %(project)s GROUP BY 1"
        )
        names = {"identity": sql.Identifier(self.kind.identity_column), "fact": sql.Identifier(self.kind.fact)}
        found = select(admin_url, statement.format(**names), self._project())
        counts = {self.kind.identity(stored): count for stored, count in found}
        return Counter({identity: count for identity, count in counts.items() if identity.startswith(run)})

    def counts(self, admin_url: str) -> dict[str, int]:
        statement = sql.SQL(
            "SELECT {group}::text, sum(event_count)::int FROM {total} JOIN project USING (project_id)"
            " WHERE project_key = %(project)s GROUP BY 1"
        )
        names = {
            "group": sql.Identifier(self.kind.group_column),
            "total": sql.Identifier(f"{self.kind.fact}_{self.kind.rollup}"),
        }
        return dict(select(admin_url, statement.format(**names), self._project()))

    def facts(self, admin_url: str) -> dict[str, int]:
        statement = sql.SQL(
            "SELECT {group}::text, count(*)::int FROM {fact} JOIN project USING (project_id)"
            " WHERE project_key = %(project)s GROUP BY 1"
        )
        names = {"group": sql.Identifier(self.kind.group_column), "fact": sql.Identifier(self.kind.fact)}
        return dict(select(admin_url, statement.format(**names), self._project()))

    def _project(self) -> dict[str, object]:
        return {"project": self.kind.project_key}


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
        return await client.post(
            f"{self.kind.path_of(item)}/batch",
            json=[self.kind.content_of(item)],
            headers=self.kind.headers,
            timeout=timeout,
        )


class TwoProjects:
    """One kind, recorded to two projects at once with a key of each. A group is one of a project: "other 51"."""

    def __init__(self, *kinds: SingleEvents) -> None:
        first = kinds[0]
        self.kinds = {kind.kind.project_key: kind for kind in kinds}
        self.name = f"{first.name} of two projects"
        self.groups: Sequence[str] = tuple(
            f"{project} {group}" for project, kind in self.kinds.items() for group in kind.groups
        )
        self.recorded_status = first.recorded_status
        self.refused_status = first.refused_status
        self.conflict_status = first.conflict_status
        self._sent: dict[str, str] = {}

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str | None, seconds_max: float
    ) -> httpx2.Response:
        project, kind, own_group = self._of(group)
        self._sent[identity] = project
        return await kind.send(client, identity, own_group, key, seconds_max)

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        _, kind, _ = self._of(self.groups[0])
        return await kind.send_refusable(client, identity, key)

    def replayed(self, answer: httpx2.Response) -> bool:
        _, kind, _ = self._of(self.groups[0])
        return kind.replayed(answer)

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        _, kind, own_group = self._of(group)
        return await kind.read_count(client, own_group)

    def count(self, answer: httpx2.Response, group: str) -> int:
        _, kind, own_group = self._of(group)
        return kind.count(answer, own_group)

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        """A row in a project that its event was not sent to is one of an identity that nobody sent."""
        found: Counter[str] = Counter()
        for project, kind in self.kinds.items():
            for identity, count in kind.rows(admin_url, run).items():
                found[identity if self._sent.get(identity) == project else f"{identity} in {project}"] += count
        return found

    def counts(self, admin_url: str) -> dict[str, int]:
        return self._of_projects({project: kind.counts(admin_url) for project, kind in self.kinds.items()})

    def facts(self, admin_url: str) -> dict[str, int]:
        return self._of_projects({project: kind.facts(admin_url) for project, kind in self.kinds.items()})

    def _of_projects(self, counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        return {f"{project} {group}": count for project, found in counts.items() for group, count in found.items()}

    def _of(self, group: str) -> tuple[str, SingleEvents, str]:
        project, _, own_group = group.partition(" ")
        return project, self.kinds[project], own_group


def _with_status_of_item(answer: httpx2.Response, rejected_status: int) -> httpx2.Response:
    if answer.status_code == httpx2.codes.OK and answer.json()["rejected"]:
        answer.status_code = rejected_status
    return answer


# Every kind alone, the delivered ones first.
KINDS: Sequence[SingleEvents] = tuple(way(kind) for kind in SERVED_KINDS for way in (SingleEvents, EventBatches))
AUTH_EVENTS, *_ = KINDS
TWO_PROJECTS: Sequence[TwoProjects] = tuple(
    TwoProjects(way(API_REQUESTS), way(API_REQUESTS_OF_OTHER_PROJECT)) for way in (SingleEvents, EventBatches)
)
# Everything that a fault run can be about.
SUBJECTS: Sequence[EventKind] = (*KINDS, *TWO_PROJECTS)


def kind_named(name: str) -> EventKind:
    """The kind of that name."""
    (found,) = [kind for kind in SUBJECTS if kind.name == name]
    return found


def select(admin_url: str, statement: str | sql.Composable, parameters: dict[str, object]) -> list[Any]:
    """What the database itself holds, past the product."""
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
