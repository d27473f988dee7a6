"""Both services with accounts; what an account asks of the public one."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx2

    from tests.servers import Product

PHRASE = "marble-otter-canyon-91"
PROJECTS = "/api/v1/projects"


class Account:
    """A registered account, with a token."""

    def __init__(self, public: httpx2.Client) -> None:
        self.public = public
        self.email = f"{secrets.token_hex(6)}@example.com"
        credentials = {"email": self.email, "password": PHRASE}
        assert public.post("/api/v1/auth/register", json=credentials).status_code == 201
        self.token: str = public.post("/api/v1/auth/login", json=credentials).json()["access_token"]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx2.Response:
        """Any route below /api/v1/projects."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"Authorization": f"Bearer {self.token}"} | named
        return self.public.request(method, PROJECTS + path, headers=sent, json=body)

    def project(self, name: str = "Shop", **fields: object) -> dict[str, Any]:
        """A new project."""
        return created(self.ask("POST", "", {"name": name, **fields}))

    def key(self, project: dict[str, Any], **fields: object) -> dict[str, Any]:
        """A new API key of a project."""
        return created(self.ask("POST", f"/{project['project_key']}/api-keys", {"name": "till", **fields}))


def created(answer: httpx2.Response) -> dict[str, Any]:
    """The body of a 201."""
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def refused(answer: httpx2.Response, status: int) -> str:
    """The sentence of a refusal, which has the form of its family."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return str(answer.json()["detail"])


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def owner(public: httpx2.Client) -> Account:
    """An account that the tests of a module share: it makes a project for each test."""
    return Account(public)


@pytest.fixture(scope="module")
def member(public: httpx2.Client) -> Account:
    """Another account."""
    return Account(public)
