"""Whether one release is named everywhere: `python3 -m tests.deploy.release v0.1.0` before its images are published.

Standard library only: the workflow runs it without an environment.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECTS = [
    "pyproject.toml",
    "packages/contract/pyproject.toml",
    "packages/servicekit/pyproject.toml",
    "packages/device-statistics-track/pyproject.toml",
    "statistics-api/pyproject.toml",
    "device-registration-api/pyproject.toml",
]
KUSTOMIZATIONS = [f"k8s/{name}kustomization.yaml" for name in ("", "base/", "check/", "restore-drill/")]


def version(root: Path = ROOT) -> str:
    """The release that the repository describes."""
    return _version(root / PROJECTS[0])


def disagreements(root: Path = ROOT, tag: str | None = None) -> Iterator[str]:
    """One sentence for each place that names another release; with a tag, the changelog must describe it."""
    wanted = version(root)
    for name in PROJECTS[1:]:
        if _version(root / name) != wanted:
            yield f"{name} says {_version(root / name)}, and {PROJECTS[0]} {wanted}"
    for name in KUSTOMIZATIONS:
        for found in re.findall(r'(?m)^\s+newTag: "?([^"\s]+)"?$', (root / name).read_text()):
            if found != wanted:
                yield f"{name} has the tag {found}, and the release is {wanted}"
    headings = re.findall(r"(?m)^## \[?([^\]\s]+)", (root / "CHANGELOG.md").read_text())
    released = [each for each in headings if each != "Unreleased"]
    if headings[:1] != ["Unreleased"] and headings[:1] != [wanted]:
        yield f"CHANGELOG.md begins with {headings[:1]}, neither with Unreleased nor with {wanted}"
    if released and _ordered(released[0]) > _ordered(wanted):
        yield f"CHANGELOG.md describes {released[0]}, and the release is {wanted}"
    if tag is not None and tag != f"v{wanted}":
        yield f"the tag is {tag}, and the release is {wanted}"
    if tag is not None and wanted not in released:
        yield f"CHANGELOG.md does not describe {wanted}"


def _version(path: Path) -> str:
    return str(tomllib.loads(path.read_text())["project"]["version"])


def _ordered(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:3])


if __name__ == "__main__":
    found = list(disagreements(tag=sys.argv[1]))
    print("\n".join(found) or f"{sys.argv[1]} is named everywhere")
    sys.exit(bool(found))
