"""A project whose figures are polled: by its keys, by their tokens, and by the account of a member."""

from dataclasses import dataclass

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import bearer
from tests.api_requests.payloads import request
from tests.database import rows
from tests.projects.conftest import Account, created
from tests.servers import Product

# A repeat takes the long way when the minute has just changed.
TRIES = 4


@dataclass
class Polled:
    """A project with some events of each kind, and what may read it."""

    account: Account
    project_key: str
    key: str

    @property
    def credentials(self) -> dict[str, dict[str, str]]:
        """The headers of all who may read the figures of API requests."""
        token = self.account.public.post("/api/auth", json={"api_key": self.key}).raise_for_status()
        return {
            "key": {"X-API-Key": self.key},
            "key as bearer": bearer(self.key),
            "token": bearer(token.json()["access_token"]),
            "account": bearer(self.account.token),
        }

    def metrics(self, path: str = "") -> str:
        """The path of a figure."""
        return f"/api/v1/projects/{self.project_key}/metrics{path}"


def is_direct(answer: httpx2.Response) -> bool:
    """Whether a response was written by a direct route: uvicorn writes the date before all other headers."""
    return answer.headers.raw[0][0].lower() != b"date"


def directly(public: httpx2.Client, path: str, headers: dict[str, str]) -> httpx2.Response:
    """Ask until the response comes from a direct route."""
    for _ in range(TRIES):
        answer = public.get(path, headers=headers)
        if is_direct(answer):
            return answer
    raise AssertionError(path)


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def polled(product: Product, public: httpx2.Client) -> Polled:
    """What the tests of a module only read."""
    account = Account(public)
    project_key = account.project()["project_key"]
    key = make_key(product, project_key)
    sent = {"X-API-Key": key}
    items = [request(number + 0.5, 200 + number, consumer="=app") for number in range(5)]
    public.post("/api/v1/track/batch", json=items, headers=sent).raise_for_status()
    public.post("/Log/auth", json={"userKey": "u", "deviceType": "iOS"}, headers=sent).raise_for_status()
    rows(
        product.database,
        "INSERT INTO project_person (project_id, person_id)"
        " SELECT project_id, '0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55' FROM project WHERE project_key = %(key)s",
        {"key": project_key},
    )
    event = {"type": "purchase", "user_id": "0190a6f2-7c1e-7d3a-9b7e-2f4c8d1e6a55", "data": {}}
    created(public.post("/api/event", json=event, headers=sent))
    return Polled(account, project_key, key)


@pytest.fixture(scope="module")
def foreign_key(product: Product) -> str:
    """A key of another project."""
    return make_key(product, make_project(product))
