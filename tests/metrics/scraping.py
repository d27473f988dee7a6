"""Scrapes a service as Prometheus does, and reads what it gets with the client library's own parser."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from local.database import base_environment, migrate
from local.services import Service
from tests.inbox.rig import inbox_environment
from tests.personal_databases import PersonalDatabases
from tests.servers import READER, WRITER, Cluster, Product, StartProduct, run_command
from tests.waiting import wait_until


def product_that_shows_everything(
    start_product: StartProduct, personal: PersonalDatabases, more: Mapping[str, str] = MappingProxyType({})
) -> Product:
    """Both services with accounts, after the commands whose ends are shown. `more` are other settings."""
    product = start_product(metrics=True, env={**personal.environment, **more})
    for command in ("maintain", "verify-counts"):
        run_command({**product.database.writer_env, **personal.environment}, command)
    product.private.restart()  # it reads its databases when it starts
    wait_until(lambda: "kek_age_seconds" in scrape(product.private))
    return product


@contextmanager
def with_inbox(cluster: Cluster, template: str) -> Iterator[dict[str, str]]:
    """An inbox on the same server, and its settings."""
    with cluster.new_database(template) as beside, cluster.new_database() as inbox:
        settings = inbox_environment(cluster.admin_url(inbox))
        migrate(cluster.admin_url(beside), WRITER, READER, base_environment() | settings)
        yield settings


def scrape(service: Service) -> str:
    """What a service shows."""
    answer = httpx2.get(f"http://127.0.0.1:{service.env['METRICS_PORT']}/metrics", timeout=10, trust_env=False)
    assert answer.status_code == 200
    return answer.text


def samples(service: Service) -> Iterator[Sample]:
    """Every number of it."""
    for family in text_string_to_metric_families(scrape(service)):
        yield from family.samples


def value(service: Service, name: str, labels: Mapping[str, str] | None = None) -> float:
    """The sum of the numbers of one name that have these labels; 0 without any."""
    wanted = (labels or {}).items()
    return sum(each.value for each in samples(service) if each.name == name and wanted <= each.labels.items())
