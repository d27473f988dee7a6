"""The README's "Try it", typed block by block into a shell, gives the answers that the README prints."""

import json

import pytest

from tests.deploy import documents
from tests.journeys.shell import needs_curl, output_of, with_answers
from tests.servers import Product, StartProduct

pytestmark = needs_curl


@pytest.fixture
def empty_product(start_product: StartProduct) -> Product:
    """A product without events: the README's counts are those of a first visit."""
    return start_product()


def without_counts(answer: object) -> object:
    """A series without its counts, which depend on the day on which the README is tried."""
    if isinstance(answer, dict):
        return {key: without_counts(value) for key, value in answer.items() if key != "count"}
    return [without_counts(each) for each in answer] if isinstance(answer, list) else answer


def test_every_block_gives_the_printed_answers(empty_product: Product) -> None:
    found = documents.blocks(documents.chapter(documents.read("README.md"), "Try it"))
    assert [block.language for block in found] == ["bash", "json"] * (len(found) // 2)
    assert len(found) >= 8  # recording, batches, counts, a series
    for typed, printed in with_answers(found):
        output = output_of(typed, empty_product.public_url)
        answers, expected = ([json.loads(each) for each in text.splitlines()] for text in (output, printed))
        if "/timeseries" in typed:
            answers, expected = [without_counts(each) for each in answers], [without_counts(each) for each in expected]
        assert answers == expected, typed
