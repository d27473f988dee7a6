"""Opens each screen of a project with ten million events of each family, and measures: no test, as first_paint.py.

`python -m pytest -s tests/dashboard/ten_million.py`; ROWS in the environment is another number. Filling takes minutes.
"""

import os

import httpx2
import pytest
from playwright.sync_api import Browser, expect

from contract.access import Scope
from load import api_requests, fills, measurements, reads, store_events
from tests.access.conftest import make_key
from tests.dashboard.browsing import Visitor
from tests.servers import Product

ROWS = int(os.environ.get("ROWS", "10_000_000"))
MILLION = 1_000_000
ROUNDS = 2
# Of the requests of the page: path and query, and milliseconds from its start to its end.
REQUESTS = """
    performance.getEntriesByType("resource").filter((each) => each.initiatorType === "fetch")
        .map((each) => [decodeURIComponent(each.name.replace(location.origin, "")), each.duration])
"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
# Each with what is there once its figures are.
SCREENS = {
    "/dashboard": "#types tbody tr",
    "/dashboard?range=30d": "#types tbody tr",
    "/dashboard/requests": "#endpoints .sparkline",
    "/dashboard/requests?range=30d": "#endpoints .sparkline",
    "/dashboard/store": "#types input",
    "/dashboard/devices": "#devices tbody tr",
    "/dashboard/devices?device=bench-1&range=7d": "#analysis tbody tr",
    "/dashboard/people": "#find",
}


@pytest.fixture(scope="module")
def filled(product: Product) -> str:
    """An API key of the first project, which has ROWS events of each family."""
    url = product.database.admin_url
    for _ in range(0, ROWS, MILLION):
        fills.execute(url, reads.FILL.format(rows=min(ROWS, MILLION)))
    fills.execute(url, reads.COUNT, reads.TIDY)
    api_requests.fill(url, ROWS)
    store_events.fill(url, ROWS)
    measurements.add_devices(url)
    # A hundredth are of one device.
    measurements.fill(url, ROWS, "1 + n % 100", "true")
    return make_key(product, "default", *Scope)


@pytest.mark.timeout(3_600)
def test_measure(browser: Browser, product: Product, public: httpx2.Client, filled: str) -> None:
    print(f"\n{ROWS:,} events of each family")
    for path, there in SCREENS.items():
        for number in range(ROUNDS):
            context = browser.new_context(base_url=product.public_url)
            visitor = Visitor(context.new_page())
            visitor.enter(public, filled, path)
            visitor.expect_live()
            expect(visitor.page.locator(there).first).to_be_visible()
            paint, live = visitor.page.evaluate(PAINT), visitor.page.evaluate("performance.now()")
            print(f"{path}, round {number + 1}: first paint {paint:.0f} ms, live within {live:.0f} ms")
            for name, duration in visitor.page.evaluate(REQUESTS):
                print(f"    {duration:6.0f} ms  {name[:110]}")
            assert visitor.complaints == []
            context.close()
