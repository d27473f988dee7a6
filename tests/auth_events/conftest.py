"""Clients of the module's own product: one for the public service, one that shows the service token.

A module that defines a fixture `product` of its own gets the clients of that one.
"""

from collections.abc import Iterator

import httpx2
import pytest

from tests.servers import Product

ANSWER_SECONDS_MAX = 20.0


@pytest.fixture(scope="module")
def public(product: Product) -> Iterator[httpx2.Client]:
    """What a client of the public service has; it keeps its connections."""
    with httpx2.Client(base_url=product.public_url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def private(product: Product) -> Iterator[httpx2.Client]:
    """What the public service is to the private one."""
    with httpx2.Client(
        base_url=product.private_url,
        headers={"Authorization": f"Bearer {product.service_token}"},
        timeout=ANSWER_SECONDS_MAX,
        trust_env=False,
    ) as client:
        yield client
