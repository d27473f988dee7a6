"""Schemas and scanners over everything that is delivered: 0 findings but those that checkov.yaml explains."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy import documents
from tests.deploy.conftest import FindTool
from tests.deploy.rendering import INSTALLATIONS, ROOT, TOOLS, Document, of_kind

SKIPS = Path(__file__).with_name("checkov.yaml")
DOCKERFILES = sorted(path for path in ROOT.glob("*/Dockerfile"))
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="session")
def files(rendered: dict[str, list[Document]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kustomization as one file, without what has no schema in Kubernetes itself."""
    folder = tmp_path_factory.mktemp("rendered")
    found = {}
    for name in [*INSTALLATIONS, *TOOLS]:
        found[name] = folder / f"{name.strip('.').replace('/', '-') or 'root'}.yaml"
        found[name].write_text(yaml.safe_dump_all(rendered[name]))
    return found


@pytest.mark.parametrize("version", ["1.35", "1.32"])
@pytest.mark.parametrize("name", [*INSTALLATIONS, *TOOLS])
def test_kubernetes_accepts(name: str, version: str, files: dict[str, Path], tool: FindTool) -> None:
    command: list[str | Path] = [tool("kubernetes-validate"), "--strict", "-k", version, files[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_accepts_the_volume_of_the_runbook(tool: FindTool, tmp_path: Path) -> None:
    chapter = documents.chapter(documents.read("docs/operations.md"), "Volumes that were kept")
    [block] = [each for each in documents.blocks(chapter) if each.language == "yaml"]
    volume = tmp_path / "volume.yaml"
    volume.write_text(block.text)
    command = [tool("kubernetes-validate"), "--strict", "-k", "1.35", str(volume)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubernetes_refuses_a_broken_copy(files: dict[str, Path], tool: FindTool, tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    documents = list(yaml.safe_load_all(files["."].read_text()))
    of_kind(documents, "Deployment")[0]["spec"]["replica"] = 3
    broken.write_text(yaml.safe_dump_all(documents))
    command: list[str | Path] = [tool("kubernetes-validate"), "--strict", "-k", "1.35", broken]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def checkov(tool: FindTool, *arguments: str | Path) -> set[str]:
    """The identifiers of every failed check, skips not applied."""
    command = [tool("checkov"), *arguments, "--skip-download", "--quiet", "--output", "json", "--soft-fail"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    reports = json.loads(done.stdout)
    reports = reports if isinstance(reports, list) else [reports]
    # With nothing to look at checkov prints a summary of zeros: that is no result.
    assert any(report.get("results", {}).get("passed_checks") for report in reports) or any(
        report.get("summary", {}).get("passed") for report in reports
    ), done.stdout + done.stderr
    return {failed["check_id"] for report in reports for failed in report.get("results", {}).get("failed_checks", [])}


@pytest.mark.timeout(900)
def test_checkov_finds_what_is_explained_and_nothing_else(tool: FindTool, files: dict[str, Path]) -> None:
    explained = dict(re.findall(r"(?m)^  - (\w+) # (\S.*)$", SKIPS.read_text()))
    assert set(explained) == set(yaml.safe_load(SKIPS.read_text())["skip-check"]), "a skip without a reason"

    found = checkov(tool, "--directory", files["."].parent, "--framework", "kubernetes")
    found |= checkov(tool, "--directory", ROOT / "terraform", "--framework", "terraform")
    named = [part for each in DOCKERFILES for part in ("--file", each)]
    found |= checkov(tool, *named, "--framework", "dockerfile")

    assert found - set(explained) == set(), "a finding without an explanation"
    assert set(explained) - found == set(), "an explanation without a finding"


def test_hadolint(tool: FindTool) -> None:
    assert DOCKERFILES
    subprocess.run([tool("hadolint"), *DOCKERFILES], check=True)


def test_every_terraform_file_can_be_read(tool: FindTool) -> None:
    """By a parser that is not Terraform's, for machines that have none."""
    python = Path(tool("checkov")).with_name("python")  # beside it is the parser that it brings
    code = "import hcl2, sys\nfor path in sys.argv[1:]:\n    hcl2.load(open(path))"
    paths = [path for path in (ROOT / "terraform").rglob("*.tf") if ".terraform" not in path.parts]
    subprocess.run([python, "-c", code, *paths], check=True)


def test_zizmor(tool: FindTool) -> None:
    assert WORKFLOWS
    subprocess.run([tool("zizmor"), "--offline", "--persona=pedantic", *WORKFLOWS], check=True)


def test_actionlint(tool: FindTool) -> None:
    subprocess.run([tool("actionlint"), *WORKFLOWS], check=True)


def test_every_action_is_pinned_by_a_hash_that_names_its_tag() -> None:
    lines = [line.strip() for path in WORKFLOWS for line in path.read_text().splitlines()]
    uses = [line for line in lines if "uses:" in line]
    assert uses
    assert not [line for line in uses if not re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)]


def test_the_scripts_are_bash(tool: FindTool) -> None:
    scripts = [ROOT / "terraform/destroy", *(ROOT / "k8s").rglob("*.sh")]
    for script in scripts:
        subprocess.run([tool("bash"), "-n", script], check=True)


def test_the_python_of_the_manifests_is_typed() -> None:
    scripts = sorted((ROOT / "k8s").rglob("*.py"))
    subprocess.run([sys.executable, "-m", "mypy", "--strict", *scripts], cwd=ROOT, check=True)
