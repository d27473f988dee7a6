"""A client of one kind of event, and what the database itself says of what it sent."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx2
from psycopg2 import sql

from tests.database import rows
from tests.kinds.served_kinds import ServedKind
from tests.servers import Product

SECONDS_MAX = 20.0
KEY_REUSED = "this idempotency key was used before with another body"
NDJSON = {"Content-Type": "application/x-ndjson"}


class KindClient:
    """Sends events to the first public service, and to others where a test names them."""

    def __init__(self, product: Product, kind: ServedKind) -> None:
        self.product = product
        self.kind = kind
        self._http = httpx2.Client(
            base_url=product.public_url, headers=dict(kind.headers), timeout=SECONDS_MAX, trust_env=False
        )
        self._private = httpx2.Client(
            headers={"Authorization": f"Bearer {product.service_token}"}, timeout=SECONDS_MAX, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._private.close()

    def event(self, identity: str, group: int = 0, **more: object) -> dict[str, Any]:
        """A good event of the group with that number."""
        return self.kind.body(identity, self.kind.groups[group]) | more

    def beside(self, identity: str) -> dict[str, Any]:
        """A good event of another group, if events of two groups can be in one batch."""
        return self.event(identity, len(self.kind.batch_groups) - 1)

    def refusable(self, identity: str) -> dict[str, Any]:
        """An event that the product must refuse."""
        return self.event(identity) | dict(self.kind.refusable)

    def send(self, body: object, key: str | None = None, *, instance: int = 0) -> httpx2.Response:
        """One event."""
        url = f"{self.product.publics[instance].url}{self.kind.path_of(body)}"
        return self._http.post(url, content=json.dumps(self.kind.content_of(body)), headers=keyed(key))

    def send_batch(
        self, items: Sequence[object], key: str | None = None, *, lines: bool = False, instance: int = 0
    ) -> httpx2.Response:
        """A batch, as an array or as lines."""
        (path,) = {self.kind.path_of(item) for item in items} or {self.kind.path_of(None)}
        sent = [self.kind.content_of(item) for item in items]
        content = "\n".join(map(json.dumps, sent)) if lines else json.dumps(sent)
        url = f"{self.product.publics[instance].url}{path}/batch"
        return self._http.post(url, content=content, headers=keyed(key) | (NDJSON if lines else {}))

    def send_lines(self, body: bytes) -> httpx2.Response:
        """A batch of lines, as they are."""
        return self._http.post(f"{self.kind.path_of(None)}/batch", content=body, headers=NDJSON)

    def forward(self, envelope: dict[str, Any], *, instance: int = 0) -> dict[str, Any]:
        """What the private service answers to a forward."""
        return answer_of(self._post_privately("forward", envelope, instance))

    def forward_batch(self, envelope: dict[str, Any], *, instance: int = 0) -> dict[str, Any]:
        """What the private service answers to a batch."""
        answer: dict[str, Any] = self._post_privately("batch", envelope, instance).raise_for_status().json()
        return answer

    def counts(self) -> dict[str, int]:
        """How many events of each group the product says that there are."""
        published = self.published()
        if "{group}" in self.kind.counts_path:
            return {group: self.kind.count(answer, group) for group, answer in published.items()}
        return self.kind.counts(published)

    def published(self) -> Any:  # noqa: ANN401 - as the kind answers
        """The response with all counts, and sums where the kind has them."""
        if "{group}" in self.kind.counts_path:
            paths = {group: self.kind.counts_path_of(group) for group in self.kind.groups}
            return {group: self._http.get(path).raise_for_status().json() for group, path in paths.items()}
        return self._http.get(self.kind.counts_path).raise_for_status().json()

    def facts_of(self, identity: str) -> int:
        """How many facts the identity has."""
        return self.facts_by_identity().get(identity, 0)

    def facts_by_identity(self) -> dict[str, int]:
        """How many facts each identity has."""
        found = self.rows("SELECT {identity}, count(*)::int FROM {fact} GROUP BY 1")
        return {self.kind.identity(stored): count for stored, count in found}

    def rows(self, statement: str, **parameters: object) -> list[Any]:
        """Run an administrator's statement; {fact}, {identity}, {group}, {fact_total} … are the kind's names."""
        names = {
            "fact": sql.Identifier(self.kind.fact),
            "identity": sql.Identifier(self.kind.identity_column),
            "group": sql.Identifier(self.kind.group_column),
            "id": sql.Identifier(self.kind.id_column),
            **{f"fact_{part}": sql.Identifier(f"{self.kind.fact}_{part}") for part in ("total", "retired", "default")},
        }
        return rows(self.product.database, sql.SQL(statement).format(**names), parameters)

    def _post_privately(self, what: str, envelope: dict[str, Any], instance: int) -> httpx2.Response:
        url = f"{self.product.privates[instance].url}/events/{self.kind.name}/{what}"
        return self._private.post(url, json=envelope)


def answer_of(response: httpx2.Response) -> dict[str, Any]:
    """The private service's answer to a forward, with the rows that follow it under `rows`."""
    first, *rows = map(json.loads, response.raise_for_status().text.split("\n"))
    return {**first, "rows": rows}


def keyed(key: str | None) -> dict[str, str]:
    """The headers of a request under this key."""
    return {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})


def is_replayed(answer: httpx2.Response) -> bool:
    """Whether the response says that its event or batch was recorded before."""
    return answer.headers.get("idempotent-replayed") == "true"
