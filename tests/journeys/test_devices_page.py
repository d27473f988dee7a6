"""docs/devices.md, typed block by block into one shell, gives the answers that the page prints."""

import json
from typing import Any

from tests.access.conftest import make_key, make_project
from tests.deploy import documents
from tests.journeys.shell import needs_curl, outputs_of, with_answers
from tests.servers import Product

pytestmark = needs_curl
# They depend on the moment at which the page is tried, or on what was created before.
FLEETING = {"id", "timestamp", "last_seen"}


def settled(answer: Any) -> object:  # noqa: ANN401 - JSON
    """An answer without what differs from visit to visit."""
    if isinstance(answer, list):
        return [settled(each) for each in answer]
    if isinstance(answer, dict):
        return {key: settled(value) for key, value in answer.items() if key not in FLEETING}
    return answer


def test_every_block_gives_the_printed_answers(product: Product) -> None:
    key = make_key(product, make_project(product), "ingest", "read", "manage")
    typed_blocks = list(with_answers(documents.blocks(documents.read("docs/devices.md"))))
    assert len(typed_blocks) == 6
    outputs = outputs_of([typed for typed, _ in typed_blocks], product, {"KEY": key})
    for (typed, printed), output in zip(typed_blocks, outputs, strict=True):
        found, expected = (
            [settled(json.loads(each)) for each in text.splitlines() if each] for text in (output, printed)
        )
        assert found == expected, f"{typed}{output}"
