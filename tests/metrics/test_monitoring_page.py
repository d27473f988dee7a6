"""docs/monitoring.md lists what the services show, and nothing else."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from local.services import Service
from tests.auth_events.payloads import event
from tests.deploy import documents
from tests.metrics.scraping import product_that_shows_everything, scrape, with_inbox
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, StartProduct

PAGE = "docs/monitoring.md"
ROW = re.compile(r"(?m)^\| `(?P<name>[a-z_]+)` \| (?P<sort>\w+) \| (?P<labels>[^|]*)\| (?P<by>both|public|private) \|")
# Of a histogram, and not its own.
BUCKET_LABEL = "le"


class Shown(NamedTuple):
    """What a family is, as its row and as a scrape have it."""

    sort: str
    labels: frozenset[str]


def listed(text: str) -> dict[str, dict[str, Shown]]:
    """The families of the table, by the service that shows them."""
    found: dict[str, dict[str, Shown]] = {"public": {}, "private": {}}
    for row in ROW.finditer(text):
        for service, families in found.items():
            if row["by"] in (service, "both"):
                families[row["name"]] = Shown(row["sort"], frozenset(re.findall("[a-z_]+", row["labels"])))
    return found


def shown(service: Service) -> dict[str, Shown]:
    return {
        family.name + ("_total" if family.type == "counter" else ""): Shown(
            family.type, frozenset(label for each in family.samples for label in each.labels) - {BUCKET_LABEL}
        )
        for family in text_string_to_metric_families(scrape(service))
    }


@pytest.fixture(scope="module")
def product(
    start_product: StartProduct, personal_databases: PersonalDatabases, cluster: Cluster, template: str
) -> Iterator[Product]:
    with with_inbox(cluster, template) as settings:
        product = product_that_shows_everything(start_product, personal_databases, settings)
        yield sent_to(product)


def sent_to(product: Product) -> Product:
    assert httpx2.post(f"{product.public_url}/Log/auth", json=event("one"), trust_env=False).status_code == 200
    return product


def test_the_page_lists_what_each_service_shows(product: Product) -> None:
    table = listed(documents.read(PAGE))
    assert table["public"] == shown(product.public)
    assert table["private"] == shown(product.private)
