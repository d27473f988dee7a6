"""Both services with accounts, an owner's project, and the command that sends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from servicekit.process import clock
from tests.projects.conftest import Account, created, owner, product
from tests.servers import run_command
from tests.webhooks.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.personal_databases import PersonalDatabases
    from tests.servers import Product

# Fixtures of the tests of projects, too.
__all__ = ["owner", "product"]

LOCALHOST = "127.0.0.0/8"


class Webhooks:
    """The webhooks of a new project, as its owner manages them."""

    def __init__(self, owner: Account) -> None:
        self.owner = owner
        self.project = owner.project(f"Hooks {time.monotonic_ns()}")
        self.path = f"/{self.project['project_key']}/webhooks"

    def create(self, url: str, *rules: dict[str, Any]) -> dict[str, Any]:
        return created(self.owner.ask("POST", self.path, {"url": url, "rules": list(rules)}))

    def ask(self, method: str, below: str = "", body: object = None) -> Any:  # noqa: ANN401 - JSON
        answer = self.owner.ask(method, self.path + below, body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def log(self, webhook: dict[str, Any]) -> list[dict[str, Any]]:
        """Its deliveries, the first first."""
        found: list[dict[str, Any]] = self.ask("GET", f"/{webhook['id']}/deliveries")
        return found[::-1]


class Sender:
    """The command `webhooks --once`, at a time that a test chooses."""

    def __init__(self, env: dict[str, str], patch: pytest.MonkeyPatch) -> None:
        self.env = env
        self._patch = patch

    def run(self, seconds_later: float = 0, **settings: str) -> str:
        """What it printed; by its own clock it runs so many seconds from now."""
        with self._patch.context() as patch:
            patch.setattr(clock, "_read", lambda: time.time() + seconds_later)
            return run_command(self.env | settings, "webhooks", "--once")


@pytest.fixture
def webhooks(owner: Account) -> Iterator[Webhooks]:
    """A project of its own for each test, which ends with it: nothing more is sent."""
    made = Webhooks(owner)
    yield made
    owner.ask("DELETE", f"/{made.project['project_key']}")


@pytest.fixture
def receiver() -> Receiver:
    """A receiver that is not up yet."""
    return Receiver()


@pytest.fixture
def sender(product: Product, personal_databases: PersonalDatabases, monkeypatch: pytest.MonkeyPatch) -> Sender:
    """Sends to this machine, too."""
    keks = {"PERSONAL_KEKS": personal_databases.environment["PERSONAL_KEKS"]}
    return Sender(product.database.writer_env | keks | {"WEBHOOK_ALLOWED_NETWORKS": LOCALHOST}, monkeypatch)
