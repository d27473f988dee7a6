"""One product for a module, with every kind in it; its tests run once for each kind."""

from collections.abc import Iterator

import pytest

from tests.database import assert_counts_are_exact
from tests.kinds.client import KindClient
from tests.kinds.served_kinds import KINDS, WITH_SAMPLE, ServedKind
from tests.servers import Product, StartProduct


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Iterator[Product]:
    """Two processes of each service: a repeat may meet any of them. After the tests, every count is exact."""
    product = start_product(publics=2, privates=2, programs=WITH_SAMPLE)
    yield product
    assert_counts_are_exact(product)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name, scope="module")
def kind(request: pytest.FixtureRequest) -> ServedKind:
    found: ServedKind = request.param
    return found


@pytest.fixture
def client(product: Product, kind: ServedKind) -> Iterator[KindClient]:
    """A client that sends events of the kind, and looks at what the database holds of them."""
    with KindClient(product, kind) as client:
        yield client
