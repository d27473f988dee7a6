"""The README's "Try it", typed block by block into a shell, gives the answers that the README prints."""

import json
import shutil
import subprocess

import pytest

from tests.deploy import documents
from tests.servers import Product, StartProduct

pytestmark = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: THE README'S CURL LINES, because curl is not here"
)
# curl prints no line feed after an answer, and each block prints one answer a line.
QUIETLY = "curl --silent --show-error --noproxy '*' --write-out '\\n' "


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
    for typed, printed in zip(found[::2], found[1::2], strict=True):
        line = typed.text.replace("curl ", QUIETLY).replace("http://localhost:8000", empty_product.public_url)
        output = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, check=True).stdout
        answers, expected = ([json.loads(each) for each in text.splitlines()] for text in (output, printed.text))
        if "/timeseries" in line:
            answers, expected = [without_counts(each) for each in answers], [without_counts(each) for each in expected]
        assert answers == expected, typed.text
