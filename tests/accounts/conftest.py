"""Both services with accounts, and clients of them."""

import secrets

import httpx2
import pytest

from tests.servers import Product

# A password that is hard to guess.
PHRASE = "marble-otter-canyon-91"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


def new_email() -> str:
    return f"Ana.{secrets.token_hex(4)}@Example.com"


def register(public: httpx2.Client, email: str, phrase: str = PHRASE) -> httpx2.Response:
    return public.post("/api/v1/auth/register", json={"email": email, "password": phrase})


def login(public: httpx2.Client, email: str, phrase: str = PHRASE) -> httpx2.Response:
    return public.post("/api/v1/auth/login", json={"email": email, "password": phrase})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def email(public: httpx2.Client) -> str:
    """The e-mail address of an account that the tests of a module share."""
    email = new_email()
    assert register(public, email).status_code == 201
    return email


@pytest.fixture(scope="module")
def token(public: httpx2.Client, email: str) -> str:
    """A token of that account."""
    token: str = login(public, email).json()["access_token"]
    return token
