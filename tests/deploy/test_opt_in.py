"""Components that an operator names in k8s/kustomization.yaml, and the overlay that takes the place of `eks` there."""

import copy
import re
import shutil
from pathlib import Path

import pytest

from tests.deploy import service_rules
from tests.deploy.rendering import TOOLS, Document, named, of_kind, render

ALB = "alb.ingress.kubernetes.io/"


@pytest.fixture
def folder(manifests: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(manifests, tmp_path / "k8s"))


def opt_in(folder: Path, component: str) -> None:
    """Take away the # as the file says, of one component alone."""
    root = folder / "kustomization.yaml"
    text = root.read_text()
    text, head = re.subn(r"(?m)^#components:$", "components:", text)
    text, line = re.subn(rf"(?m)^#(  - components/{component}\b)", r"\1", text)
    assert (head, line) == (1, 1)
    root.write_text(text)


@pytest.mark.parametrize("overlay", ["eks", "rds"])
def test_tls(kubectl: str, folder: Path, overlay: str) -> None:
    root = folder / "kustomization.yaml"
    root.write_text(root.read_text().replace("- overlays/eks", f"- overlays/{overlay}"))
    before = render(kubectl, folder)
    opt_in(folder, "tls")

    after = render(kubectl, folder)

    assert list(service_rules.load_balancer(after)) == []
    said = named(after, "Ingress", "statistics-api")["metadata"]["annotations"]
    assert said[f"{ALB}certificate-arn"].startswith("arn:aws:acm:")
    assert said[f"{ALB}listen-ports"] == '[{"HTTP": 80}, {"HTTPS": 443}]'
    assert said[f"{ALB}ssl-redirect"] == "443"
    # And nothing else: the annotations of the load balancer stay, and so does every other object.
    changed = copy.deepcopy(after)
    annotations = named(changed, "Ingress", "statistics-api")["metadata"]["annotations"]
    for key in ("certificate-arn", "ssl-redirect", "ssl-policy"):
        del annotations[f"{ALB}{key}"]
    annotations[f"{ALB}listen-ports"] = '[{"HTTP": 80}]'
    assert changed == before


@pytest.mark.parametrize("key", ["listen-ports", "ssl-redirect", "ssl-policy"])
def test_half_of_tls_is_found(kubectl: str, folder: Path, key: str) -> None:
    patch = folder / "components/tls/ingress.yaml"
    patch.write_text("".join(line for line in patch.read_text().splitlines(keepends=True) if f"/{key}:" not in line))
    opt_in(folder, "tls")

    assert list(service_rules.load_balancer(render(kubectl, folder)))


def test_a_private_registry(kubectl: str, folder: Path) -> None:
    opt_in(folder, "registry")
    for tool in TOOLS:
        kustomization = folder / tool / "kustomization.yaml"
        kustomization.write_text(kustomization.read_text() + "components: [../components/registry]\n")

    for name in (".", *TOOLS):
        accounts: list[Document] = of_kind(render(kubectl, folder / name), "ServiceAccount")
        assert accounts
        assert {each["metadata"]["name"]: each.get("imagePullSecrets") for each in accounts} == {
            each["metadata"]["name"]: [{"name": "registry"}] for each in accounts
        }


def test_nothing_is_opted_in(rendered: dict[str, list[Document]]) -> None:
    assert not [each for each in of_kind(rendered["."], "ServiceAccount") if "imagePullSecrets" in each]
    assert f"{ALB}certificate-arn" not in named(rendered["."], "Ingress", "statistics-api")["metadata"]["annotations"]


def test_the_managed_database_has_the_images_of_the_root(kubectl: str, folder: Path) -> None:
    root = folder / "kustomization.yaml"
    text = root.read_text().replace("- overlays/eks", "- overlays/rds")
    root.write_text(
        text.replace("newName: device-statistics/", "newName: registry.example/").replace('"0.2.0"', '"0.3.0"')
    )

    documents = render(kubectl, folder)

    assert not of_kind(documents, "StatefulSet")
    [job] = of_kind(documents, "Job")
    assert job["metadata"]["name"] == "migrate-0.3.0"
    image = job["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.example/device-registration-api:0.3.0"
