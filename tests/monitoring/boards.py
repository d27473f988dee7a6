"""The queries of the boards and the alerts, and the names in them."""

import json
import re
from collections.abc import Iterator

import yaml

from tests.deploy.rendering import ROOT, Document

FOLDER = ROOT / "k8s/components/monitoring"
ALERTS = FOLDER / "alerts.yaml"
BOARD = FOLDER / "dashboards/device-statistics-service.json"
# What a query may name: of a histogram its three series, and what the rules themselves record.
_NAME = re.compile(r"\b(?:http|device_statistics)[a-z0-9_:]*\b(?!=)")


def rules() -> list[Document]:
    """The rules in their order."""
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[Document] = group["rules"]
    return found


def alerts() -> list[Document]:
    return [rule for rule in rules() if "alert" in rule]


def panel_queries() -> Iterator[tuple[str, str]]:
    """Each query of the board, with the title of its panel and the letter that it has there."""
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"{panel['title']} {target['refId']}", target["expr"]


def names_in(query: str) -> set[str]:
    """The metrics in a query. Labels are behind `by (`, or before an `=` or a `!`."""
    without_labels = re.sub(r"\{[^}]*\}|by \([^)]*\)", "", query)
    return set(_NAME.findall(without_labels))
