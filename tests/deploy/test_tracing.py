"""The component `tracing`: both services send spans to the collector, and nobody gets another way."""

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.deploy.network_matrix import EXPECTED, Pair, deviations
from tests.deploy.rendering import ROOT, Document, environment, pods, render

SERVICES = ["device-registration-api", "statistics-api"]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def before(manifests: Path, kubectl: str) -> list[Document]:
    return render(kubectl, manifests)


@pytest.fixture(scope="module")
def after(manifests: Path, kubectl: str, tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    folder = Path(shutil.copytree(manifests, tmp_path_factory.mktemp("tracing") / "k8s"))
    root = folder / "kustomization.yaml"
    text = root.read_text()
    assert "#  - components/tracing " in text
    root.write_text(
        text.replace("#components:\n", "components:\n").replace("#  - components/tra", "  - components/tra")
    )
    return render(kubectl, folder)


def test_both_services_send_to_the_port_that_they_may_reach(after: list[Document]) -> None:
    for pod in pods(after):
        found = [environment(each)[ENDPOINT] for each in pod.containers if ENDPOINT in environment(each)]
        assert bool(found) == (pod.name in SERVICES)
        for each in found:
            address = urlsplit(each["value"])
            assert (address.hostname, address.port) == ("opentelemetry-collector.observability", 4318)
    wanted = {Pair(service, "calls", "observability/opentelemetry-collector", "TCP 4318") for service in SERVICES}
    assert deviations(after, EXPECTED["."] | wanted) == []


def test_nothing_else_changes_and_without_it_nothing_is_traced(before: list[Document], after: list[Document]) -> None:
    assert ENDPOINT not in json.dumps(before)
    assert {each["metadata"]["name"] for each in before if each not in after} == set(SERVICES)
    assert {each["metadata"]["name"] for each in after if each not in before} == {
        *SERVICES,
        "services-call-the-collector",
    }


def test_in_compose_both_services_get_the_settings_and_trace_nothing_by_default() -> None:
    having = {name for name, each in COMPOSE["services"].items() if ENDPOINT in each.get("environment", {})}
    assert having == set(SERVICES)
    for name in SERVICES:
        assert COMPOSE["services"][name]["environment"][ENDPOINT] == f"${{{ENDPOINT}:-}}"
