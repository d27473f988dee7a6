"""Types a document's blocks into a shell, as a reader does."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import pytest

from tests.deploy.documents import Block

needs_curl = pytest.mark.skipif(
    shutil.which("curl") is None, reason="NOT CHECKED: CURL LINES, because curl is not here"
)
# curl prints no line feed after an answer, and each block prints one answer a line.
_QUIETLY = "curl --silent --show-error --noproxy '*' --write-out '\\n' "
# Between the answers of two blocks; a character that is in no answer.
_END = "\x1e"


def with_answers(blocks: list[Block]) -> Iterator[tuple[str, str]]:
    """Each block of answers with the commands above it; several blocks of commands in a row are typed together."""
    typed = ""
    for block in blocks:
        if block.language == "bash":
            typed += block.text
        elif typed:
            assert block.language in ("json", "text"), typed
            yield typed, block.text
            typed = ""


def outputs_of(blocks: Sequence[str], url: str, variables: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """What one shell prints after each of the blocks, with this address instead of the document's."""
    script = "".join(f"{block}\nprintf '{_END}'\n" for block in blocks)
    line = script.replace("curl ", _QUIETLY).replace("http://localhost:8000", url)
    env = {**os.environ, **variables}
    finished = subprocess.run(["bash", "-euc", line], capture_output=True, text=True, check=True, env=env)
    return finished.stdout.split(_END)[:-1]


def output_of(block: str, url: str) -> str:
    """What a shell prints after one block."""
    [output] = outputs_of([block], url)
    return output
