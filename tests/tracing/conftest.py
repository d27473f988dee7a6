"""Both services with traces, and what collects them."""

import secrets
from collections.abc import Iterator

import pytest

from tests.servers import Product, StartProduct
from tests.tracing.collector import Collector, collecting

PUBLIC, PRIVATE = "statistics-api", "device-registration-api"
EVENT = {"userKey": "somebody@example.com", "deviceType": "iOS"}
# The spans of a test are sent after this time at the latest.
SETTINGS = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}


class Caller:
    """The span of a client, in a trace of its own."""

    def __init__(self, flags: str = "01") -> None:
        self.trace_id, self.span_id = secrets.token_hex(16), secrets.token_hex(8)
        self.headers = {"traceparent": f"00-{self.trace_id}-{self.span_id}-{flags}", "tracestate": "shop=7"}


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[Collector, str]]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def collector(collected: tuple[Collector, str]) -> Collector:
    return collected[0]


@pytest.fixture(scope="module")
def product(start_product: StartProduct, collected: tuple[Collector, str]) -> Product:
    """Records what a caller samples, and nothing else."""
    own = {"OTEL_EXPORTER_OTLP_ENDPOINT": collected[1], "OTEL_TRACES_SAMPLER_ARG": "0"}
    return start_product(env=SETTINGS | own | {"OTEL_RESOURCE_ATTRIBUTES": "team=shop"})
