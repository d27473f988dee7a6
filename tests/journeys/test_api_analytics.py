"""docs/api-analytics.md, typed block by block into a shell, gives the answers that the page prints."""

import json

from tests.access.conftest import make_key, make_project
from tests.deploy import documents
from tests.journeys.shell import needs_curl, output_of, with_answers
from tests.servers import Product

pytestmark = needs_curl
# They depend on the moment at which the page is tried.
FLEETING = {"id", "timestamp", "requests_per_minute"}


def settled(text: str) -> list[object]:
    """The answers, without what differs from visit to visit."""
    answers = [json.loads(each) for each in text.splitlines() if each]
    return [
        {key: value for key, value in each.items() if key not in FLEETING} if isinstance(each, dict) else each
        for each in answers
    ]


def test_every_block_gives_the_printed_answers(product: Product) -> None:
    project = make_project(product)
    variables = {"KEY": make_key(product, project), "PROJECT": project}
    typed_blocks = list(with_answers(documents.blocks(documents.read("docs/api-analytics.md"))))
    assert len(typed_blocks) == 6
    for typed, printed in typed_blocks:
        output = output_of(typed, product, variables)
        if "format=csv" in typed:
            assert output.split() == printed.split(), typed
        else:
            assert settled(output) == settled(printed), typed
