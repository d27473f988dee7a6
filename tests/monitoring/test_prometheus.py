"""A real Prometheus scrapes both services: every query of a board and every rule finds what it names."""

from collections.abc import Iterator

import httpx2
import pytest

from tests.auth_events.payloads import event
from tests.metrics.scraping import product_that_shows_everything, with_inbox
from tests.monitoring.boards import names_in, panel_queries, rules
from tests.monitoring.prometheus_server import PrometheusServer, needs_prometheus
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, StartProduct

pytestmark = needs_prometheus
EVENTS = 7
QUERIES = dict(panel_queries()) | {str(rule.get("alert") or rule["record"]): rule["expr"] for rule in rules()}


@pytest.fixture(scope="module")
def product(
    start_product: StartProduct, personal_databases: PersonalDatabases, cluster: Cluster, template: str
) -> Iterator[Product]:
    with with_inbox(cluster, template) as settings:
        product = product_that_shows_everything(start_product, personal_databases, settings)
        with httpx2.Client(base_url=product.public_url, trust_env=False) as client:
            for number in range(EVENTS):
                assert client.post("/Log/auth", json=event(f"user-{number}")).status_code == 200
        yield product


@pytest.fixture(scope="module")
def prometheus(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"), product)
    server.start()
    try:
        server.wait_until(lambda: len(server.query("up == 1")) == 2)
        # Rates need two scrapes, and rules an evaluation.
        server.wait_until(lambda: bool(server.query("device_statistics:error_ratio:rate5m")))
        yield server
    finally:
        server.stop()


def test_it_understands_every_line_of_both_services(prometheus: PrometheusServer) -> None:
    targets = prometheus.ask("targets")["activeTargets"]
    assert {each["labels"]["job"]: (each["health"], each["lastError"]) for each in targets} == {
        "statistics-api": ("up", ""),
        "device-registration-api": ("up", ""),
    }
    recorded = prometheus.query('device_statistics_events_total{kind="auth_events",outcome="recorded"}')
    assert [each["value"][1] for each in recorded] == [str(EVENTS)]


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_is_valid_and_names_metrics_that_are_there(prometheus: PrometheusServer, name: str) -> None:
    query = QUERIES[name].replace("$job", "statistics-api").replace("$__rate_interval", "1m")
    prometheus.query(query)
    there = set(prometheus.ask("label/__name__/values"))
    found = names_in(QUERIES[name])
    assert found or name == "DeviceStatisticsServiceDown"
    assert found <= there


def test_nothing_alerts_while_everything_works(prometheus: PrometheusServer) -> None:
    groups = prometheus.ask("rules")["groups"]
    states = {rule["name"]: rule["state"] for group in groups for rule in group["rules"] if rule["type"] == "alerting"}
    assert states
    assert set(states.values()) == {"inactive"}
