"""Projects with devices: a key, and what is asked and sent with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.database import rows
from tests.servers import Product

DEVICES = "/api/v1/devices"
STATS = "/api/v1/stats"


def assert_problem(answer: httpx2.Response, status: int, detail: str) -> None:
    """The response is a refusal with this sentence."""
    body = answer.json()
    assert (answer.status_code, body["detail"]) == (status, detail)
    assert answer.headers["content-type"] == "application/problem+json"


@dataclass
class Fleet:
    """A project of its own, and a client that has a key of it for everything."""

    product: Product
    project_id: int
    api_key: str
    http: httpx2.Client

    def path(self, device_id: str, *, base: str = f"{STATS}/devices") -> str:
        """Where a device is."""
        return f"{base}/{quote(device_id, safe='')}"

    def create(self, device_id: str, **fields: object) -> dict[str, Any]:
        """A new device."""
        answer = self.http.post(f"{DEVICES}/", json={"device_id": device_id, **fields}).raise_for_status()
        created: dict[str, Any] = answer.json()
        return created

    def person(self) -> str:
        """The id of a new person, without personal data."""
        person_id = str(uuid4())
        statement = "INSERT INTO project_person (project_id, person_id) VALUES (%(project)s, %(person)s)"
        rows(self.product.database, statement, {"project": self.project_id, "person": person_id})
        return person_id

    def measure(self, device_id: str, body: Mapping[str, object], **headers: str) -> httpx2.Response:
        """Record one measurement."""
        return self.http.post(self.path(device_id), json=body, headers=headers)

    def measure_all(self, device_id: str, bodies: Sequence[Mapping[str, object]]) -> None:
        """Record all of them in one batch."""
        answer = self.http.post(f"{self.path(device_id)}/batch", json=bodies).raise_for_status().json()
        assert answer["registered"] == len(bodies), answer

    def analyze(self, device_id: str, **period: str) -> httpx2.Response:
        """Ask for the figures of a period."""
        return self.http.post(f"{self.path(device_id)}/analyze", json=period) if period else self.analyze_all(device_id)

    def analyze_all(self, device_id: str) -> httpx2.Response:
        """Ask for the figures of all measurements, without a body."""
        return self.http.post(f"{self.path(device_id)}/analyze")

    def forget_row(self, device_number: int) -> None:
        """Remove a device as a process does whose notification is lost."""
        rows(
            self.product.database,
            "SET session_replication_role = replica; DELETE FROM device WHERE device_number = %(number)s",
            {"number": device_number},
        )


@pytest.fixture(scope="module")
def new_fleet(product: Product) -> Iterator[Callable[[], Fleet]]:
    """Makes a project without devices."""
    with ExitStack() as undo:

        def make() -> Fleet:
            project = make_project(product)
            api_key = make_key(product, project, "ingest", "read", "manage")
            client = httpx2.Client(
                base_url=product.public_url, headers={"X-API-Key": api_key}, timeout=20, trust_env=False
            )
            [(project_id,)] = rows(
                product.database, "SELECT project_id FROM project WHERE project_key = %(key)s", {"key": project}
            )
            return Fleet(product, project_id, api_key, undo.enter_context(client))

        yield make


@pytest.fixture
def fleet(new_fleet: Callable[[], Fleet]) -> Fleet:
    """A project without devices."""
    return new_fleet()
