"""A release has one number, its images are published after the tests, and a registry takes their names."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy import release
from tests.deploy.rendering import ROOT

IMAGES = yaml.safe_load((ROOT / ".github/workflows/images.yml").read_text())
PUBLISH = IMAGES["jobs"]["publish"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in [*release.PROJECTS, *release.KUSTOMIZATIONS, "CHANGELOG.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def describe(copy: Path, heading: str) -> None:
    """Put a heading below Unreleased, as a release does."""
    path = copy / "CHANGELOG.md"
    path.write_text(path.read_text().replace("## Unreleased\n", f"## Unreleased\n\n{heading}\n", 1))


def test_one_release_is_named_everywhere() -> None:
    assert list(release.disagreements()) == []


@pytest.mark.parametrize("name", [*release.PROJECTS, *release.KUSTOMIZATIONS])
def test_another_number_is_found(copy: Path, name: str) -> None:
    text = (copy / name).read_text()
    assert f'"{release.version()}"' in text
    (copy / name).write_text(text.replace(f'"{release.version()}"', '"7.7.7"'))

    assert list(release.disagreements(copy))


def test_a_tag_needs_its_number_and_its_chapter_of_the_changelog(copy: Path) -> None:
    tag = f"v{release.version(copy)}"
    assert list(release.disagreements(copy, tag)) == [f"CHANGELOG.md does not describe {release.version(copy)}"]

    describe(copy, f"## [{release.version(copy)}] - 2026-01-01")

    assert list(release.disagreements(copy, tag)) == []
    assert list(release.disagreements(copy, "v7.7.7")) == [f"the tag is v7.7.7, and the release is {tag[1:]}"]


def test_a_changelog_that_is_ahead_is_found(copy: Path) -> None:
    describe(copy, "## [7.7.7] - 2026-01-01")

    assert list(release.disagreements(copy)) == [
        f"CHANGELOG.md describes 7.7.7, and the release is {release.version()}"
    ]


def test_the_command_says_it_with_its_exit_code() -> None:
    command = [sys.executable, "-m", "tests.deploy.release", "v7.7.7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the tag is v7.7.7" in done.stdout


def test_nothing_is_published_before_the_tests_have_passed() -> None:
    assert PUBLISH["needs"] == ["tests"]
    commands = [step["run"] for step in IMAGES["jobs"]["tests"]["steps"] if "run" in step]
    assert commands[0] == 'python3 -m tests.deploy.release "$GITHUB_REF_NAME"'
    # The same steps as for every commit.
    every_commit = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["tests"]["steps"]
    assert commands[1:] == [step["run"] for step in every_commit if "run" in step]


def test_an_owner_with_capitals_can_publish_and_attest(tmp_path: Path) -> None:
    [naming] = [step for step in PUBLISH["steps"] if step.get("id") == "image"]
    env = {"GITHUB_REPOSITORY": "Some-Owner/Device-Statistics", "SERVICE": "statistics-api", "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-c", naming["run"]], env=env | {"GITHUB_OUTPUT": str(tmp_path / "output")}, check=True)
    assert (tmp_path / "output").read_text() == "name=ghcr.io/some-owner/device-statistics/statistics-api\n"

    assert naming["env"] == {"SERVICE": "${{ matrix.service }}"}
    named = [
        value
        for step in PUBLISH["steps"]
        for key, value in step.get("with", {}).items()
        if key in {"images", "subject-name"}
    ]
    assert named == ["${{ steps.image.outputs.name }}"] * 2
