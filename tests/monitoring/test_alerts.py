"""The alerts: what raises each of them, by Prometheus's own tool, and that an operator is told what to do."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy import documents
from tests.deploy.rendering import Document
from tests.monitoring.boards import ALERTS, FOLDER, alerts
from tests.monitoring.prometheus_server import needs_prometheus

UNIT_TESTS = Path(__file__).with_name("alert_tests.yaml")
PAGE = "docs/monitoring.md"


def promtool(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The unit tests over the rules of a folder."""
    shutil.copy(UNIT_TESTS, folder / UNIT_TESTS.name)
    command = ["promtool", "test", "rules", UNIT_TESTS.name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@needs_prometheus
def test_each_alert_is_raised_by_what_it_says_and_by_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ALERTS, tmp_path / ALERTS.name)
    finished = promtool(tmp_path)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@needs_prometheus
def test_a_wrong_rule_is_found(tmp_path: Path) -> None:
    (tmp_path / ALERTS.name).write_text(ALERTS.read_text().replace("> 0.8", "> 0.7"))
    assert promtool(tmp_path).returncode != 0


def test_each_alert_has_a_unit_test() -> None:
    tests = yaml.safe_load(UNIT_TESTS.read_text())["tests"]
    tested = {each["alertname"] for test in tests for each in test.get("alert_rule_test", []) if "exp_alerts" in each}
    assert tested == {alert["alert"] for alert in alerts()}


def test_the_rules_of_the_operator_are_those_of_the_file() -> None:
    rule = yaml.safe_load((FOLDER / "prometheus-rule.yaml").read_text())
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_operator_is_told_what_to_do(alert: Document) -> None:
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert page == PAGE
    assert anchor == alert["alert"].lower()
    assert anchor in documents.anchors(documents.read(PAGE))
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert documents.chapter(documents.read(PAGE), alert["alert"]).strip()
