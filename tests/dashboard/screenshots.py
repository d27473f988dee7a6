"""Makes the pictures of docs/dashboard.md: `make screenshots`. No test: nothing collects it that does not name it.

A new screen has a function of its own here, which fills the project and opens the page.
"""

import math
from datetime import timedelta
from pathlib import Path

import httpx2
from playwright.sync_api import expect

from local.services import ROOT
from servicekit.process import clock
from tests.dashboard.browsing import Visitor

IMAGES = ROOT / "docs" / "images"
SIZE_MAX = {"width": 1200, "height": 1120}
# How many events of each type come at most in one hour.
PER_HOUR = {"iOS": 60, "Android": 45, "Watch": 18, "TV": 10}


def save(visitor: Visitor, name: str) -> None:
    visitor.page.set_viewport_size({"width": SIZE_MAX["width"], "height": SIZE_MAX["height"]})
    visitor.expect_live()
    visitor.page.evaluate("document.fonts.ready")
    Path(IMAGES).mkdir(exist_ok=True)
    visitor.page.screenshot(path=IMAGES / f"{name}.png")


def test_overview(visitor: Visitor, public: httpx2.Client, key: str) -> None:
    now = clock.now()
    events = [
        {
            "userKey": f"user-{number}",
            "deviceType": name,
            "occurredAt": (now - timedelta(hours=hour, minutes=7)).isoformat(),
        }
        for hour in range(48)
        for name, most in PER_HOUR.items()
        for number in range(
            round(most * (1.2 + math.sin((hour + len(name)) / 24 * 2 * math.pi)) / 2.2 * (1 - hour / 120))
        )
    ]
    public.post("/Log/auth/batch", json=events, headers={"X-API-Key": key}).raise_for_status()
    visitor.enter(public, key)
    expect(visitor.page.locator("#types tbody tr")).to_have_count(4)
    save(visitor, "dashboard-overview")
