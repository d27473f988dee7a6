"""The overlay with several database servers: every worker is named, and the nodes fit each other."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.rendering import ROOT, Document, environment, named, of_kind, pods, render


@pytest.fixture
def documents(rendered: dict[str, list[Document]]) -> list[Document]:
    return rendered["overlays/citus"]


def arguments(documents: list[Document], server: str) -> dict[str, str]:
    """The settings of a server's command line."""
    [container] = named(documents, "StatefulSet", server)["spec"]["template"]["spec"]["containers"]
    pairs = (each.split("=", 1) for each in container["args"] if each != "-c")
    return dict(pairs)


def test_the_job_names_every_worker_and_the_coordinator(documents: list[Document]) -> None:
    [job] = [pod for pod in pods(documents) if pod.name == "distribute-0.2.0"]
    workers = named(documents, "StatefulSet", "citus-worker")["spec"]
    assert job.containers[0]["args"] == [
        "--coordinator=postgres:5432",
        *(f"--worker=citus-worker-{place}.{workers['serviceName']}:5432" for place in range(workers["replicas"])),
    ]
    assert named(documents, "Service", "citus-worker")["spec"]["clusterIP"] == "None"


def test_the_nodes_have_what_distribute_asks_for(documents: list[Document]) -> None:
    coordinator, worker = arguments(documents, "postgres"), arguments(documents, "citus-worker")
    for each in (coordinator, worker):
        assert each["shared_preload_libraries"] == "citus"
        assert each["wal_level"] == "logical"
    assert int(worker["max_prepared_transactions"]) >= int(coordinator["max_connections"])
    assert int(worker["max_connections"]) >= int(coordinator["max_connections"])


def test_the_coordinator_has_every_setting_of_a_single_server(rendered: dict[str, list[Document]]) -> None:
    single = arguments(rendered["overlays/eks"], "postgres")
    assert single.items() <= arguments(rendered["overlays/citus"], "postgres").items()
    assert single.items() <= arguments(rendered["overlays/citus"], "citus-worker").items()


def test_the_extension_is_made_in_the_database_of_the_services(documents: list[Document]) -> None:
    [source] = {each["metadata"]["name"] for each in of_kind(documents, "ConfigMap") if "DB_NAME" in each["data"]}
    database = named(documents, "ConfigMap", source)["data"]["DB_NAME"]
    for server in ("postgres", "citus-worker"):
        [container] = named(documents, "StatefulSet", server)["spec"]["template"]["spec"]["containers"]
        assert environment(container)["POSTGRES_DB"]["value"] == database


def test_the_nodes_are_of_one_image_which_compose_has_too(documents: list[Document]) -> None:
    images = {pod.containers[0]["image"] for pod in pods(documents) if pod.kind == "StatefulSet"}
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert images == {compose["citus-coordinator"]["image"]} == {compose["citus-worker-1"]["image"]}


def test_each_server_runs_on_nodes_of_the_database(documents: list[Document]) -> None:
    """The component that Terraform's names here, as on a cluster with Karpenter."""
    specs = [each["spec"]["template"]["spec"] for each in of_kind(documents, "StatefulSet")]
    assert [spec["nodeSelector"] for spec in specs] == [{"karpenter.sh/nodepool": "database"}] * 2


def test_in_the_place_of_eks_it_has_the_images_of_the_root(kubectl: str, manifests: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(manifests, tmp_path / "k8s"))
    root = folder / "kustomization.yaml"
    text = root.read_text().replace("- overlays/eks", "- overlays/citus")
    root.write_text(text.replace("newName: device", "newName: mine/device").replace('"0.2.0"', '"0.3.0"'))

    jobs = of_kind(render(kubectl, folder), "Job")

    assert {job["metadata"]["name"] for job in jobs} == {"migrate-0.3.0", "distribute-0.3.0"}
    [image] = {job["spec"]["template"]["spec"]["containers"][0]["image"] for job in jobs}
    assert image == "mine/device-statistics/device-registration-api:0.3.0"
