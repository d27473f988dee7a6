"""Measures how soon the overview shows its figures, and what it transfers until then: no test, as screenshots.py.

`python -m pytest -s tests/dashboard/first_paint.py`, on an otherwise idle machine.
"""

from statistics import median

import httpx2
from playwright.sync_api import Browser

from tests.dashboard.browsing import Visitor
from tests.servers import Product

ROUNDS = 5
# When the first figure is in the page, by its own clock, which began with the navigation.
FIRST_FIGURE = """
    new MutationObserver((_, observer) => {
        if (document.querySelector("#figures dd")) {
            window.firstFigure = performance.now();
            observer.disconnect();
        }
    }).observe(document, { childList: true, subtree: true });
"""


def test_measure(browser: Browser, product: Product, public: httpx2.Client, key: str) -> None:
    public.post("/Log/auth", json={"userKey": "u", "deviceType": "iOS"}, headers={"X-API-Key": key}).raise_for_status()
    paints, figures, transferred = [], [], []
    for _ in range(ROUNDS):
        context = browser.new_context(base_url=product.public_url)
        context.add_init_script(FIRST_FIGURE)
        visitor = Visitor(context.new_page())
        devtools = context.new_cdp_session(visitor.page)
        devtools.send("Network.enable")
        sizes: list[float] = []
        devtools.on("Network.loadingFinished", lambda event, sizes=sizes: sizes.append(event["encodedDataLength"]))
        visitor.enter(public, key)
        visitor.page.wait_for_function("window.firstFigure")
        figures.append(visitor.page.evaluate("window.firstFigure"))
        paints.append(visitor.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        visitor.expect_live()
        transferred.append(sum(sizes))
        context.close()
    print(f"\nfirst paint {median(paints):.0f} ms, first figure {median(figures):.0f} ms (rounds {figures})")
    print(f"{median(transferred) / 1_000:.1f} kB")
