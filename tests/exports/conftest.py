"""Projects with events of every kind, and clients that export them."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from servicekit.http.csv_text import as_sent
from tests.access.conftest import make_key, make_project
from tests.database import rows
from tests.servers import Cluster, MigratedDatabase, Product
from tests.waiting import wait_until

# A text that a spreadsheet would take for a formula.
FORMULA = "=1+1"
DEVICE = "+device"
IS_BEHIND = """
    SELECT max(commit_xid) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint FROM {fact}
     WHERE project_id = {project_id}
"""


@dataclass
class Source:
    """A project, and a client that has a key of it with every scope."""

    product: Product
    project: str
    project_id: int
    http: httpx2.Client

    def path(self, kind: str) -> str:
        """Where a kind is exported."""
        return {
            "auth_events": "/Log/auth/export",
            "api_requests": f"/api/v1/projects/{self.project}/metrics/export",
            "measurements": "/api/v1/stats/export",
            "store_events": "/api/event/export",
        }[kind]

    def record(self, kind: str, number: int) -> None:
        """Record some events in one batch; texts are such as a spreadsheet takes for formulas."""
        path, body = self._event(kind)
        bodies = [body(each) for each in range(number)]
        answer = self.http.post(f"{path}/batch", json=bodies).raise_for_status().json()
        assert answer["registered"] == number, answer
        wait_until(lambda: self.are_exported(kind.removesuffix("s")))

    def send_again(self, kind: str, exported: list[dict[str, Any]]) -> dict[str, Any]:
        """Send exported rows as they are."""
        path, _ = self._event(kind)
        answer: dict[str, Any] = self.http.post(f"{path}/batch", json=exported).raise_for_status().json()
        return answer

    def export(self, kind: str, **parameters: str) -> httpx2.Response:
        """The whole response."""
        return self.http.get(self.path(kind), params=parameters)

    def exported(self, kind: str, **parameters: str) -> tuple[list[dict[str, Any]], str]:
        """The rows, and the last checkpoint."""
        return rows_and_checkpoint(self.export(kind, **parameters).raise_for_status().text)

    def facts(self, fact: str) -> int:
        """How many rows are stored."""
        statement = f"SELECT count(*)::int FROM {fact} WHERE project_id = {self.project_id}"  # noqa: S608 - of a test
        return int(rows(self.product.database, statement)[0][0])

    def are_exported(self, fact: str) -> bool:
        """Whether no transaction is open, of whatever test, that an export waits for before these rows."""
        statement = IS_BEHIND.format(fact=fact, project_id=self.project_id)
        [(are_behind,)] = rows(self.product.database, statement)
        return bool(are_behind)

    def _event(self, kind: str) -> tuple[str, Callable[[int], dict[str, Any]]]:
        match kind:
            case "auth_events":
                return "/Log/auth", lambda n: {"userKey": f"{FORMULA}{n}", "deviceType": "iOS"}
            case "api_requests":
                request = {"method": "GET", "response_status_code": 200, "response_time_ms": 1.25, "consumer": FORMULA}
                return "/api/v1/track", lambda n: {**request, "url_path": f"/{n}"}
            case "measurements":
                self.http.post("/api/v1/devices", json={"device_id": DEVICE})
                return f"/api/v1/stats/devices/{DEVICE}", lambda n: {"x": n, "y": -0.5, "z": 1e-9}
            case _:
                user = self._user()
                return "/api/event", lambda n: {"type": FORMULA, "user_id": user, "data": {"n": n, "of": [FORMULA]}}

    def _user(self) -> str:
        user_id = str(uuid4())
        statement = "INSERT INTO project_person (project_id, person_id) VALUES (%(project)s, %(user)s)"
        rows(self.product.database, statement, {"project": self.project_id, "user": user_id})
        return user_id


def rows_and_checkpoint(text: str) -> tuple[list[dict[str, Any]], str]:
    """The rows of an export in NDJSON that has ended, and its last checkpoint."""
    lines = [json.loads(line) for line in text.splitlines()]
    found = [line for line in lines if "checkpoint" not in line]
    *checkpoints, last = (line for line in lines if "checkpoint" in line)
    assert last is lines[-1]
    assert (last["end"], last["rows"]) == (True, len(found))
    assert all(line.keys() == {"checkpoint"} for line in checkpoints)
    return found, last["checkpoint"]


def csv_rows(text: str) -> list[dict[str, str]]:
    """The rows of an export in CSV that has ended as they were before they were made harmless, without checkpoints."""
    *found, last = csv.DictReader(io.StringIO(text, newline=""))
    checked: list[Mapping[str, str]] = [row for row in found if not row["checkpoint"]]
    assert last["checkpoint"]
    assert last["rows"] == str(len(checked))
    assert not any(row["rows"] for row in found)
    own = [name for name in last if name not in {"checkpoint", "rows"}]
    return [{name: as_sent(row[name]) for name in own} for row in checked]


@pytest.fixture(scope="module")
def new_source(product: Product) -> Iterator[Callable[[], Source]]:
    """Makes a project without events."""
    with ExitStack() as undo:

        def make() -> Source:
            project = make_project(product)
            headers = {"X-API-Key": make_key(product, project, "ingest", "read", "manage")}
            client = httpx2.Client(base_url=product.public_url, headers=headers, timeout=30, trust_env=False)
            found = "SELECT project_id FROM project WHERE project_key = %(key)s"
            [(project_id,)] = rows(product.database, found, {"key": project})
            return Source(product, project, project_id, undo.enter_context(client))

        yield make


@pytest.fixture
def source(new_source: Callable[[], Source]) -> Source:
    """A project without events."""
    return new_source()


@pytest.fixture(scope="module")
def module_database(cluster: Cluster, template: str) -> Iterator[MigratedDatabase]:
    """A migrated database that the tests of a module share."""
    with cluster.new_database(template) as name:
        yield MigratedDatabase(cluster.admin_url(name))
