"""Types a document's blocks into a shell, as a reader does."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import pytest

from tests.deploy.documents import Block
from tests.servers import Product

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: CURL LINES, because curl is not here"
)
# curl prints no line feed after an answer, and each block prints one answer a line.
_QUIETLY = "curl --silent --show-error --noproxy '*' --write-out '\\n' "
# Between the answers of two blocks; a character that is in no answer.
_END = "\x1e"


def with_answers(blocks: list[Block]) -> Iterator[tuple[str, str]]:
    """Each block of commands with the block of answers below it."""
    for typed, printed in pairwise(blocks):
        if typed.language == "bash":
            assert printed.language in ("json", "text"), typed.text
            yield typed.text, printed.text


def outputs_of(
    blocks: Sequence[str], product: Product, variables: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """What one shell prints after each of the blocks, with the product instead of the document's address."""
    script = "".join(f"{block}\nprintf '{_END}'\n" for block in blocks)
    line = script.replace("curl ", _QUIETLY).replace("http://localhost:8000", product.public_url)
    env = {**os.environ, **variables}
    finished = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, check=True, env=env)
    return finished.stdout.split(_END)[:-1]


def output_of(block: str, product: Product, variables: Mapping[str, str] = MappingProxyType({})) -> str:
    """What a shell prints after one block."""
    [output] = outputs_of([block], product, variables)
    return output
