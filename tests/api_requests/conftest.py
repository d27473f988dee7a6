"""Projects of API analytics: a key, and what is asked and sent with it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.servers import Product

TRACK = "/api/v1/track"


@dataclass
class TrackedProject:
    """A project of its own, and a client that has a key of it."""

    key: str
    api_key: str
    http: httpx2.Client

    def track(self, body: Mapping[str, object], **headers: str) -> httpx2.Response:
        """Record one request."""
        return self.http.post(TRACK, json=body, headers=headers)

    def track_all(self, bodies: Sequence[Mapping[str, object]]) -> None:
        """Record all of them in one batch."""
        answer = self.http.post(f"{TRACK}/batch", json=bodies).raise_for_status().json()
        assert answer["registered"] == len(bodies), answer

    def ask(self, metric: str, /, **parameters: object) -> httpx2.Response:
        """Ask for figures."""
        chosen = {name: str(value) for name, value in parameters.items()}
        return self.http.get(self.path(metric), params=chosen)

    def path(self, metric: str) -> str:
        """Where figures are asked for."""
        return f"/api/v1/projects/{self.key}/metrics/{metric}"

    def summary(self, **parameters: object) -> dict[str, Any]:
        """The figures of a range."""
        found: dict[str, Any] = self.ask("summary", **parameters).raise_for_status().json()
        return found

    def table(self, metric: str, **parameters: object) -> list[dict[str, Any]]:
        """The rows of a list of figures."""
        found: list[dict[str, Any]] = self.ask(metric, **parameters).raise_for_status().json()
        return found


@pytest.fixture(scope="module")
def new_project(product: Product) -> Iterator[Callable[[], TrackedProject]]:
    """Makes a project without requests."""
    with ExitStack() as undo:

        def make() -> TrackedProject:
            project = make_project(product)
            api_key = make_key(product, project)
            client = httpx2.Client(
                base_url=product.public_url, headers={"X-API-Key": api_key}, timeout=20, trust_env=False
            )
            return TrackedProject(project, api_key, undo.enter_context(client))

        yield make


@pytest.fixture
def tracked(new_project: Callable[[], TrackedProject]) -> TrackedProject:
    """A project without requests."""
    return new_project()
