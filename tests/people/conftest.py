"""Projects whose users are asked for with a key."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.servers import Product

USERS = "/api/v1/users"
USER = "/api/user"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Personal data is configured."""
    return product_with_accounts


@contextmanager
def client_of(product: Product, *scopes: str) -> Iterator[httpx2.Client]:
    """A client with a key of a project of its own."""
    key = make_key(product, make_project(product), *(scopes or ("ingest", "read", "manage")))
    with httpx2.Client(base_url=product.public_url, headers={"X-API-Key": key}, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def http(product: Product) -> Iterator[httpx2.Client]:
    """A project without users, and a client of it that may do everything."""
    with client_of(product) as client:
        yield client


def new_email() -> str:
    return f"Ana.{secrets.token_hex(4)}@Example.com"


def user(**fields: object) -> dict[str, object]:
    """A user of family 2."""
    return {"username": f"u-{secrets.token_hex(4)}", "email": new_email(), **fields}


def store_user(**fields: object) -> dict[str, object]:
    """A user of a store."""
    return user(**{"first_name": "Ana", "last_name": "Test", "phone": 4915112345678, **fields})


def refused_fields(answer: httpx2.Response) -> list[str]:
    """The fields that a 422 names."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    return [each["field"] for each in answer.json()["errors"]]
