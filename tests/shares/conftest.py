"""Both services with accounts, and an owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.projects.conftest import Account

if TYPE_CHECKING:
    import httpx2

    from tests.servers import Product


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def owner(public: httpx2.Client) -> Account:
    """An account that the tests of a module share."""
    return Account(public)
