"""Scrapes a service as Prometheus does, and reads what it gets with the client library's own parser."""

from collections.abc import Iterator, Mapping

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from local.services import Service


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
