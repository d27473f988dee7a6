"""Projects and keys, made by the functions behind the real commands, which have tests of their own."""

import pytest

from contract.access import Scope
from tests.access.key_commands import connected, create_key, create_project
from tests.servers import Product


def key_id(key: str) -> str:
    """The id within a key."""
    return key.removeprefix("ds_live_").partition("_")[0]


def make_project(product: Product) -> str:
    """The key of a new project."""
    with connected(product.database) as conn:
        return create_project(conn, "shop")


def make_key(product: Product, project: str, *scopes: str) -> str:
    """A new API key of a project; it may record and read unless it is said otherwise."""
    chosen = [Scope(each) for each in scopes or ("ingest", "read")]
    with connected(product.database) as conn:
        return create_key(conn, project, chosen, expires_at=None, active_max=100)


@pytest.fixture(scope="module")
def project(product: Product) -> str:
    """The key of a project that the tests of a module share."""
    return make_project(product)


@pytest.fixture(scope="module")
def key(product: Product, project: str) -> str:
    """A key of that project that may record and read."""
    return make_key(product, project)
