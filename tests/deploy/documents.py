"""The documents as their readers use them: commands to type, files to open, objects to look at."""

import re
from typing import NamedTuple

from tests.deploy.rendering import ROOT

_PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
NAMES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", *_PAGES]
_TOP_FOLDERS = "k8s|terraform|docs|tests|load|packages|local|requirements|statistics-api|device-registration-api"
_PATH = re.compile(rf"(?<![\w./$-])(?:{_TOP_FOLDERS}|\.github|\.ci)/[\w./*-]*")


class Block(NamedTuple):
    """One fenced block: its language, empty when it has none, and its lines."""

    language: str
    text: str


def read(name: str) -> str:
    """A document's text, by its path in the repository."""
    return (ROOT / name).read_text()


def chapter(text: str, title: str) -> str:
    """What stands below a heading, up to the next one of the same level or a higher one. Raises when it is absent."""
    found = re.search(rf"(?m)^(#+) {re.escape(title)}$", text)
    assert found, f"no chapter {title!r}"
    rest = _without_headings_in_blocks(text)[found.end() :]
    end = re.search(rf"(?m)^#{{1,{len(found[1])}}} ", rest)
    return text[found.end() :][: end.start() if end else None]


def blocks(text: str) -> list[Block]:
    """Every fenced block, in order."""
    return [Block(*found) for found in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text)]


def commands(text: str) -> list[str]:
    """Whatever is to be typed: each command of the bash blocks, continued lines joined, comments gone; and `code`."""
    typed = [block.text.replace("\\\n", " ") for block in blocks(text) if block.language == "bash"]
    lines = [re.sub(r"\s+# .*", "", line).strip() for block in typed for line in block.splitlines()]
    # A line with two commands is two of them.
    parts = [part.strip() for line in lines for part in re.split(r"&&|;", line)]
    outside = re.sub(r"(?ms)^```.*?^```$", "", text)
    return [each for each in [*parts, *re.findall(r"`([^`\n]+)`", outside)] if each and not each.startswith("#")]


def paths(text: str) -> list[str]:
    """Every path that begins with a folder of the repository's top."""
    without_addresses = re.sub(r"https?://\S+", "", text)
    return [each.rstrip("./-") for each in _PATH.findall(without_addresses)]


def links(text: str) -> list[str]:
    """The targets of all links that do not lead to the internet."""
    return [each for each in re.findall(r"\]\(([^)]+)\)", text) if "://" not in each]


def anchors(text: str) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"(?m)^#+ (.+)$", _without_headings_in_blocks(text))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def _without_headings_in_blocks(text: str) -> str:
    # Of the same length, so that positions are those of the text.
    return re.sub(r"(?ms)^```.*?^```$", lambda block: re.sub(r"(?m)^#", " ", block[0]), text)
