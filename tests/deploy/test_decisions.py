"""The decisions are numbered, complete and indexed, and what refers to one finds it."""

import re

import pytest

from tests.deploy import documents
from tests.deploy.rendering import ROOT

FOLDER = "docs/decisions"
DECISIONS = [name for name in documents.NAMES if re.match(rf"{FOLDER}/\d{{4}}-", name)]
SUFFIXES = {".py", ".tf", ".yaml"}
MENTION = re.compile(r"docs/[a-z0-9/-]+\.md")
CHAPTERS = ["Context", "Decision", "Consequences", "Alternatives"]
HEAD = re.compile(
    r"# (?P<number>\d{4})\. (?P<title>.+)\n\n"
    r"- Status: (?P<status>proposed|accepted|superseded by \[\d{4}\])[^\n]*\n"
    r"- Date: (?P<date>\d{4}-\d\d-\d\d)"
)


def head(text: str) -> re.Match[str]:
    found = HEAD.match(text)
    assert found, text[:200]
    return found


def test_the_numbers_follow_each_other() -> None:
    numbers = [int(name.removeprefix(f"{FOLDER}/")[:4]) for name in DECISIONS]
    assert numbers == list(range(1, len(numbers) + 1))
    assert f"The next number is {len(numbers) + 1:04}." in documents.read(f"{FOLDER}/README.md")


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_has_number_status_date_and_every_chapter(name: str) -> None:
    text = documents.read(name)
    assert head(text)["number"] == name.removeprefix(f"{FOLDER}/")[:4]
    titles = re.findall(r"(?m)^## (.+)$", text)
    assert [title for title in titles if title in CHAPTERS] == CHAPTERS


@pytest.mark.parametrize("name", DECISIONS)
def test_the_index_has_its_title_status_and_date(name: str) -> None:
    found = head(documents.read(name))
    file = name.removeprefix(f"{FOLDER}/")
    row = f"| [{found['number']}]({file}) | {found['title']} | {found['status'].split(' by')[0]} | {found['date']} |"
    assert row in documents.read(f"{FOLDER}/README.md").splitlines()


@pytest.mark.parametrize(
    "wrong", ["", "# 1. A\n\n- Status: accepted", "# 0001. A\n\n- Status: done\n- Date: 2026-11-22"]
)
def test_a_wrong_head_is_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        head(wrong)


def test_every_document_that_code_refers_to_is_there() -> None:
    folders = ("packages", "statistics-api", "device-registration-api", "local", "load", "tests", "k8s", "terraform")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    named = {name for path in files if path.suffix in SUFFIXES for name in MENTION.findall(path.read_text())}
    assert f"{FOLDER}/0013-coalescer-turns.md" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
