"""Stores, their users and their clients."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.database import rows
from tests.servers import Product

EVENT = "/api/event"


@dataclass
class Store:
    """A store of its own, and a client that has a key of it."""

    store_id: int
    key: str
    api_key: str
    http: httpx2.Client
    product: Product

    def add_user(self) -> str:
        """The id of a new user: what other code inserts when a person is made."""
        user_id = str(uuid4())
        self.sql("INSERT INTO project_person (project_id, person_id) VALUES (%(store)s, %(user)s)", user=user_id)
        return user_id

    def set(self, user_id: str, column: str) -> None:
        """Suppress or erase a user."""
        assert column in ("suppressed_at", "erased_at")
        where = "WHERE project_id = %(store)s AND person_id = %(user)s"
        self.sql(f"UPDATE project_person SET {column} = now() {where}", user=user_id)  # noqa: S608 - one of two

    def send(self, body: object, **headers: str) -> httpx2.Response:
        """One event."""
        return self.http.post(EVENT, json=body, headers=headers)

    def send_text(self, body: bytes) -> httpx2.Response:
        """One event, as it is written."""
        return self.http.post(EVENT, content=body, headers={"Content-Type": "application/json"})

    def record(self, user_id: str, type_: str = "visit", **more: object) -> dict[str, Any]:
        """One event that must be recorded."""
        answer = self.send({"type": type_, "user_id": user_id, "data": {}} | more)
        assert answer.status_code == 201, answer.text
        stored: dict[str, Any] = answer.json()
        return stored

    def record_all(self, events: Sequence[Mapping[str, object]]) -> dict[str, Any]:
        """A batch."""
        return self.http.post(f"{EVENT}/batch", json=events).raise_for_status().json()  # type: ignore[no-any-return]

    def ask(self, path: str, **parameters: object) -> Any:  # noqa: ANN401 - as the route answers
        """Ask for figures."""
        chosen = {name.rstrip("_"): str(value) for name, value in parameters.items()}
        return self.http.get(f"{EVENT}/{path}", params=chosen).raise_for_status().json()

    def sql(self, statement: str, **parameters: object) -> list[Any]:
        """Run an administrator's statement."""
        return rows(self.product.database, statement, {"store": self.store_id, **parameters})


@pytest.fixture(scope="module")
def new_store(product: Product) -> Iterator[Callable[..., Store]]:
    """Makes a store without users and events."""
    with ExitStack() as undo:

        def make(timezone: str = "UTC") -> Store:
            project = make_project(product)
            statement = "UPDATE project SET timezone = %(zone)s WHERE project_key = %(key)s RETURNING project_id"
            [(store_id,)] = rows(product.database, statement, {"zone": timezone, "key": project})
            api_key = make_key(product, project, "ingest", "read", "manage")
            client = httpx2.Client(
                base_url=product.public_url, headers={"X-API-Key": api_key}, timeout=20, trust_env=False
            )
            return Store(store_id, project, api_key, undo.enter_context(client), product)

        yield make


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    """A store without users and events."""
    return new_store()
