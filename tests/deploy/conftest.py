"""Tools that may be absent: a test that needs one says so and is skipped, but under `make test-deploy` it fails."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.deploy.rendering import INSTALLATIONS, TOOLS, Document, copy_with_secrets, render

FindTool = Callable[[str], str]

# What nobody looks at when a tool is not here.
_UNSEEN = {
    "kubectl": "EVERYTHING THAT AN OPERATOR APPLIES TO A CLUSTER",
    "kubernetes-validate": "WHETHER KUBERNETES ACCEPTS THE MANIFESTS",
    "checkov": "THE SECURITY OF MANIFESTS, TERRAFORM AND IMAGES",
    "hadolint": "THE DOCKERFILES",
    "zizmor": "THE SECURITY OF THE WORKFLOWS",
    "actionlint": "THE SYNTAX OF THE WORKFLOWS",
    "terraform": "TERRAFORM'S FORMAT, VALIDITY AND OWN TESTS",
    "bash": "THE SCRIPTS",
}


def find_tool(name: str) -> str:
    """The tool's path: from `make test-deploy`'s own environment, else from PATH."""
    folder = os.environ.get("DEPLOY_TOOLS")
    found = shutil.which(name, path=folder) if folder else None
    found = found or shutil.which(name)
    if found is None:
        message = (
            f"NOT CHECKED: {_UNSEEN[name]}, because {name} is not here (`make test-deploy` brings most of the tools)"
        )
        if folder and name not in {"terraform", "actionlint"}:
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def tool() -> FindTool:
    return find_tool


@pytest.fixture(scope="session")
def kubectl() -> str:
    return find_tool("kubectl")


@pytest.fixture(scope="session")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of k8s/ with secrets; a test that changes it takes a copy of its own."""
    return copy_with_secrets(tmp_path_factory.mktemp("manifests"))


@pytest.fixture(scope="session")
def rendered(kubectl: str, manifests: Path) -> dict[str, list[Document]]:
    """Every kustomization that an operator applies, by its folder."""
    return {name: render(kubectl, manifests / name) for name in [*INSTALLATIONS, *TOOLS]}
