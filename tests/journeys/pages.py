"""The pages of families 2 to 4: whatever a page tells to type prints the answers that stand below it."""

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.deploy import documents
from tests.journeys.shell import outputs_of, with_answers


class Page(NamedTuple):
    """A page of docs/, how many of its blocks have answers, and the line that a test replaces."""

    name: str
    answered: int
    settled: Callable[[Any], object]
    # An operator types it elsewhere, or is asked for something.
    not_typed: str = ""


def check(page: Page, url: str, variables: Mapping[str, str] = MappingProxyType({})) -> None:
    """Type the page block by block into one shell, and compare."""
    typed_blocks = list(with_answers(documents.blocks(documents.read(f"docs/{page.name}.md"))))
    assert len(typed_blocks) == page.answered
    typed_lines = [typed.replace(page.not_typed, "") for typed, _ in typed_blocks]
    assert not page.not_typed or typed_lines != [typed for typed, _ in typed_blocks], page.not_typed
    outputs = outputs_of(typed_lines, url, variables)
    for (typed, printed), output in zip(typed_blocks, outputs, strict=True):
        if "format=csv" in typed:
            assert output.split() == printed.split(), typed
        else:
            found, expected = (list(map(page.settled, _answers(text))) for text in (output, printed))
            assert found == expected, f"{typed}{output}"


def _answers(text: str) -> Iterator[Any]:
    return (json.loads(each) for each in text.splitlines() if each)


def without(*names: str) -> Callable[[Any], object]:
    """Return what takes these fields out of an answer, at any depth: they differ from visit to visit."""

    def settled(answer: Any) -> object:  # noqa: ANN401 - JSON
        if isinstance(answer, list):
            return [settled(each) for each in answer]
        if isinstance(answer, dict):
            return {key: settled(value) for key, value in answer.items() if key not in names}
        return answer

    return settled


# They depend on the moment at which the page is tried, or are random.
_FLEETING = without("id", "timestamp", "requests_per_minute", "project_key", "created_at", "updated_at")
# The same of an API key; what is used of it is known up to a minute later.
_FLEETING_OF_KEYS = without("id", "prefix", "created_at", "expires_at", "last_used_at", "total_requests")


def _settled_requests(answer: Any) -> object:  # noqa: ANN401 - JSON
    """The page lists API keys and points of a fixed range."""
    return (_FLEETING_OF_KEYS if isinstance(answer, list) else _FLEETING)(answer)


API_ANALYTICS = Page("api-analytics", 11, _settled_requests)
DEVICES = Page("devices", 6, without("id", "timestamp", "last_seen"))
OPERATOR, PASSWORD = "olga@example.com", "velvet-harbor-lantern-52"
STORES = Page(
    "stores",
    3,
    without("id", "store_id", "user_id", "api_key", "created_at", "date", "from", "to"),
    not_typed=f".venv/bin/python -m local.command create-operator {OPERATOR}\n",
)
