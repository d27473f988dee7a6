"""What an operator would apply, as Python objects."""

import base64
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
NAMESPACE = "device-statistics"
# Named as in `kubectl apply -k k8s/<...>`.
INSTALLATIONS = [".", "overlays/eks", "overlays/rds", "overlays/citus", "overlays/local"]
TOOLS = ["check", "restore-drill"]

Document = dict[str, Any]


class Pod(NamedTuple):
    """The pods of one workload."""

    kind: str
    name: str
    labels: dict[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        """All of them, initial ones first."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def copy_with_secrets(folder: Path) -> Path:
    """A copy of k8s/ as an operator has it after `terraform apply` and `make k8s-secrets`."""
    copy = copy_of_a_clone(folder)
    component = copy / "components/from-terraform"
    shutil.copy(component / "kustomization.example.yaml", component / "kustomization.yaml")
    make_secrets(copy)
    return copy


def copy_of_a_clone(folder: Path) -> Path:
    """A copy of what git has of k8s/, and nothing that it ignores."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "k8s"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if (ROOT / name).exists():  # not one that is deleted and still in the index
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder / "k8s"


def make_secrets(copy: Path) -> None:
    """What `make k8s-secrets` does, where no cluster can be asked."""
    nowhere = {"PATH": "/usr/bin:/bin", "KUBECONFIG": "/dev/null"}
    subprocess.run([sys.executable, copy / "secret_files.py", "make"], check=True, env=nowhere, capture_output=True)


def render(kubectl: str, folder: Path) -> list[Document]:
    """The manifests of one kustomization. Raises CalledProcessError with kustomize's own words."""
    done = subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Every object of a kind."""
    return [each for each in documents if each["kind"] == kind]


def named(documents: list[Document], kind: str, name: str) -> Document:
    """The one object of this kind and name."""
    [found] = [each for each in of_kind(documents, kind) if each["metadata"]["name"] == name]
    return found


def pods(documents: list[Document]) -> Iterator[Pod]:
    """Every workload's pods."""
    for each in documents:
        spec = each.get("spec") or {}
        if each["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if each["kind"] in {"Deployment", "StatefulSet", "Job", "CronJob"}:
            template = spec["template"]
            labels = template["metadata"]["labels"]
            yield Pod(each["kind"], each["metadata"]["name"], labels, template["spec"])


def environment(container: Document) -> dict[str, Document]:
    """The variables that a container names itself."""
    return {each["name"]: each for each in container.get("env", [])}


def variables(container: Document, documents: list[Document]) -> dict[str, str | None]:
    """Every variable that reaches a container; None for one that the cluster fills in."""
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        if "secretRef" in source:
            data = named(documents, "Secret", source["secretRef"]["name"])["data"]
            found |= {name: base64.b64decode(value).decode() for name, value in data.items()}
        else:
            found |= named(documents, "ConfigMap", source["configMapRef"]["name"])["data"]
    return found | {name: each.get("value") for name, each in environment(container).items()}
