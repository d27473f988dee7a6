"""docs/api-analytics.md, typed block by block into one shell, gives the answers that the page prints."""

import json
from typing import Any

import pytest

from tests.deploy import documents
from tests.journeys.shell import needs_curl, outputs_of, with_answers
from tests.servers import Product

pytestmark = needs_curl
# They depend on the moment at which the page is tried, or are random.
FLEETING = {"id", "timestamp", "requests_per_minute", "project_key", "created_at", "updated_at"}
# The same of an API key; what is used of it is known up to a minute later.
FLEETING_OF_KEYS = {"id", "prefix", "created_at", "expires_at", "last_used_at", "total_requests"}


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured: the page begins with one."""
    return product_with_accounts


def settled(answer: Any) -> object:  # noqa: ANN401 - JSON
    """An answer without what differs from visit to visit; the page lists API keys and points of a fixed range."""
    if isinstance(answer, list):
        return [{key: each[key] for key in each if key not in FLEETING_OF_KEYS} for each in answer]
    return {key: answer[key] for key in answer if key not in FLEETING}


def test_every_block_gives_the_printed_answers(product: Product) -> None:
    typed_blocks = list(with_answers(documents.blocks(documents.read("docs/api-analytics.md"))))
    assert len(typed_blocks) == 11
    outputs = outputs_of([typed for typed, _ in typed_blocks], product)
    for (typed, printed), output in zip(typed_blocks, outputs, strict=True):
        if "format=csv" in typed:
            assert output.split() == printed.split(), typed
        else:
            found, expected = (
                [settled(json.loads(each)) for each in text.splitlines() if each] for text in (output, printed)
            )
            assert found == expected, f"{typed}{output}"
