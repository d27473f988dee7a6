"""What the rig must know of an event kind: how to send one, how to read a count, and which rows it left.

A new kind is one class here; writers, faults, checker and reports stay as they are.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Protocol

import httpx2
import psycopg2


class EventKind(Protocol):
    """An identity is the rig's own name for an event: unique, found again in the row that the event leaves."""

    name: str
    # Where events count, for example their device types.
    groups: Sequence[str]

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str, seconds_max: float
    ) -> httpx2.Response:
        """Send one event in good order, under the client's own `key` for it."""

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        """Send one that must be refused with 4xx and leave no row."""

    def replayed(self, answer: httpx2.Response) -> bool:
        """Whether a 200 says that the event had been recorded before."""

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        """Ask the product for the count of `group`."""

    def count(self, answer: httpx2.Response) -> int:
        """The count in that answer."""

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        """How many rows each identity that begins with `run` has, from the database itself."""

    def counts(self, admin_url: str) -> dict[str, int]:
        """The rollup of each group, from the database itself."""


class AuthEvents:
    """POST /Log/auth. The identity is the user key."""

    name = "auth events"
    groups: Sequence[str] = ("Android", "TV", "Watch", "iOS")

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str, seconds_max: float
    ) -> httpx2.Response:
        body = {"userKey": identity, "deviceType": group}
        return await client.post("/Log/auth", json=body, headers={"Idempotency-Key": key}, timeout=seconds_max)

    async def send_refusable(self, client: httpx2.AsyncClient, identity: str, key: str) -> httpx2.Response:
        body = {"userKey": identity, "deviceType": "Windows"}
        return await client.post("/Log/auth", json=body, headers={"Idempotency-Key": key})

    def replayed(self, answer: httpx2.Response) -> bool:
        return answer.headers.get("idempotent-replayed") == "true"

    async def read_count(self, client: httpx2.AsyncClient, group: str) -> httpx2.Response:
        return await client.get("/Log/auth/statistics", params={"deviceType": group})

    def count(self, answer: httpx2.Response) -> int:
        return int(answer.json()["count"])

    def rows(self, admin_url: str, run: str) -> Counter[str]:
        found = select(
            admin_url,
            "SELECT user_key, count(*) FROM auth_event WHERE starts_with(user_key, %(run)s) GROUP BY user_key",
            {"run": run},
        )
        return Counter(dict(found))

    def counts(self, admin_url: str) -> dict[str, int]:
        return dict(
            select(admin_url, "SELECT device_type::text, sum(event_count)::int FROM auth_event_total GROUP BY 1", {})
        )


class AuthEventBatches(AuthEvents):
    """POST /Log/auth/batch, one item each: another route, another transaction, the same promises."""

    name = "auth events in batches"

    async def send(
        self, client: httpx2.AsyncClient, identity: str, group: str, key: str, seconds_max: float
    ) -> httpx2.Response:
        body = [{"userKey": identity, "deviceType": group, "eventId": key}]
        answer = await client.post("/Log/auth/batch", json=body, timeout=seconds_max)
        if answer.status_code == httpx2.codes.OK and answer.json()["rejected"]:
            # What a single event is told by its status, an item is told in the answer: a key used before.
            answer.status_code = httpx2.codes.CONFLICT
        return answer

    def replayed(self, answer: httpx2.Response) -> bool:
        return bool(answer.json()["duplicate"])


def select(admin_url: str, statement: str, parameters: dict[str, object]) -> list[Any]:
    """What the database itself holds, past the product."""
    with closing(psycopg2.connect(admin_url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()
