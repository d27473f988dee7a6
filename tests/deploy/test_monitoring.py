"""The component and the profile `monitoring`: what scrapes the services, and that nobody else reaches their metrics."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.network_matrix import EXPECTED, Pair, deviations
from tests.deploy.rendering import ROOT, Document, environment, named, of_kind, pods, render

COMPONENT = "k8s/components/monitoring"
SERVICES = ["device-registration-api", "statistics-api"]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROFILE = "monitoring"


@pytest.fixture(scope="module")
def before(manifests: Path, kubectl: str) -> list[Document]:
    return render(kubectl, manifests)


@pytest.fixture(scope="module")
def after(manifests: Path, kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    folder = Path(shutil.copytree(manifests, tmp_path_factory.mktemp("monitoring") / "k8s"))
    root = folder / "kustomization.yaml"
    text = root.read_text()
    assert "#components:\n" in text
    assert "#  - components/monitoring " in text
    root.write_text(
        text.replace("#components:\n", "components:\n").replace("#  - components/mon", "  - components/mon")
    )
    return render(kubectl, folder)


def ports(container: Document) -> dict[str, int]:
    return {each["name"]: each["containerPort"] for each in container["ports"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_answers_scrapes_on_the_port_that_is_scraped(after: list[Document], service: str) -> None:
    [pod] = [each for each in pods(after) if each.name == service]
    [container] = pod.containers
    assert environment(container)["METRICS_PORT"]["value"] == str(ports(container)["metrics"])
    monitor = named(after, "ServiceMonitor", service)["spec"]
    found = named(after, "Service", service)
    assert monitor["selector"]["matchLabels"].items() <= found["metadata"]["labels"].items()
    [endpoint] = monitor["endpoints"]
    [port] = [each for each in found["spec"]["ports"] if each["name"] == endpoint["port"]]
    assert port["targetPort"] == "metrics"


def test_only_prometheus_reaches_that_port(after: list[Document]) -> None:
    wanted = {Pair(service, "takes", "monitoring/prometheus", "TCP metrics") for service in SERVICES}
    assert deviations(after, EXPECTED["."] | wanted) == []
    for ingress in of_kind(after, "Ingress"):
        assert "metrics" not in json.dumps(ingress)


def test_the_board_and_the_objects_of_the_operator_are_found_by_their_labels(after: list[Document]) -> None:
    [board] = [
        each for each in of_kind(after, "ConfigMap") if "grafana_dashboard" in each["metadata"].get("labels", {})
    ]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    for name, text in board["data"].items():
        assert json.loads(text) == json.loads((ROOT / COMPONENT / "dashboards" / name).read_text())
    found = [each for each in after if each["apiVersion"].startswith("monitoring.coreos.com/")]
    assert {each["kind"] for each in found} == {"ServiceMonitor", "PrometheusRule"}
    assert {each["metadata"]["labels"]["release"] for each in found} == {"kube-prometheus-stack"}


def test_nothing_else_changes_and_without_it_there_are_no_metrics(
    before: list[Document], after: list[Document]
) -> None:
    assert "METRICS_PORT" not in json.dumps(before)

    def keys(documents: list[Document]) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in documents}

    assert keys(after) - keys(before) == {
        ("ConfigMap", "device-statistics-dashboards"),
        ("NetworkPolicy", "services-take-prometheus"),
        ("PrometheusRule", "device-statistics"),
        *(("ServiceMonitor", service) for service in SERVICES),
    }
    changed = {each["metadata"]["name"] for each in before if each not in after}
    assert changed == set(SERVICES)


def test_compose_scrapes_both_services_and_publishes_the_page_alone() -> None:
    config = yaml.safe_load((ROOT / "monitoring/prometheus.yaml").read_text())
    targets = {each["job_name"]: each["static_configs"][0]["targets"] for each in config["scrape_configs"]}
    expected = {name: [f"{name}:{COMPOSE['services'][name]['environment']['METRICS_PORT']}"] for name in SERVICES}
    assert targets == expected
    mine = {name: each for name, each in COMPOSE["services"].items() if each.get("profiles") == [PROFILE]}
    assert set(mine) == {"prometheus", "grafana"}
    assert {name: each.get("ports") for name, each in mine.items()} == {
        "prometheus": None,
        "grafana": ["127.0.0.1:${GRAFANA_PORT:-3000}:3000"],
    }
    for name, service in COMPOSE["services"].items():
        assert not any("9464" in port for port in service.get("ports", [])), name


def test_compose_mounts_files_that_are_there() -> None:
    for name in ("prometheus", "grafana"):
        service = COMPOSE["services"][name]
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            assert not source.startswith("./") or (ROOT / source).exists(), volume
            assert target
    [source] = yaml.safe_load((ROOT / "monitoring/grafana/datasources/prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((ROOT / "monitoring/grafana/dashboards/files.yaml").read_text())["providers"]
    assert provider["options"]["path"] in {each.split(":")[1] for each in COMPOSE["services"]["grafana"]["volumes"]}
