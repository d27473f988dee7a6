"""Makes the pictures of docs/dashboard.md and docs/sharing.md: `make screenshots`.

No test: nothing collects it that does not name it.

A new screen has a function of its own here, which fills the project and opens the page.
"""

import math
from datetime import timedelta
from pathlib import Path

import httpx2
from playwright.sync_api import expect

from contract.access import Scope
from local.services import ROOT
from servicekit.process import clock
from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE, bearer, login
from tests.dashboard.browsing import Visitor
from tests.servers import Product

IMAGES = ROOT / "docs" / "images"
SIZE_MAX = {"width": 1200, "height": 1120}
# How many events of each type come at most in one hour.
PER_HOUR = {"iOS": 60, "Android": 45, "Watch": 18, "TV": 10}

# Path, method, status, typical time in milliseconds, and how many come at most in one hour.
ENDPOINTS = (
    ("/orders/{id}", "GET", 200, 18, 70),
    ("/orders", "POST", 201, 60, 30),
    ("/search", "GET", 200, 140, 22),
    ("/health", "GET", 200, 1.5, 12),
)

USERS = 60
# How many events of each type a store has at most on one day.
PER_DAY = {"visit": 90, "purchase": 35, "return": 6}


def save(visitor: Visitor, name: str) -> None:
    visitor.expect_live()
    # A short page has no empty space below it.
    visitor.page.set_viewport_size({"width": SIZE_MAX["width"], "height": 400})
    height = int(visitor.page.evaluate("document.documentElement.scrollHeight"))
    visitor.page.set_viewport_size({"width": SIZE_MAX["width"], "height": min(height, SIZE_MAX["height"])})
    visitor.page.evaluate("document.fonts.ready")
    Path(IMAGES).mkdir(exist_ok=True)
    visitor.page.screenshot(path=IMAGES / f"{name}.png")


def test_requests(visitor: Visitor, public: httpx2.Client, key: str) -> None:
    now = clock.now()
    requests = [
        {
            "url_path": path,
            "method": method,
            "response_status_code": (500 if number % 3 == 1 else 404) if number % 17 == 16 else status,
            "response_time_ms": round(typical * (0.6 + (number * 37 % 100) / 90 + 4 * (number % 50 == 49)), 2),
            "consumer": f"app-{number % 7}",
            "timestamp": (now - timedelta(hours=hour, minutes=7)).isoformat(),
        }
        for hour in range(48)
        for path, method, status, typical, most in ENDPOINTS
        for number in range(round(most * (1.3 + math.sin(hour / 24 * 2 * math.pi)) / 2.3 * (1 - hour / 120)))
    ]
    headers = {"X-API-Key": key, "X-Dropped-Events": "12"}
    public.post("/api/v1/track/batch", json=requests, headers=headers).raise_for_status()
    visitor.enter(public, key, "/dashboard/requests")
    expect(visitor.page.locator("#endpoints th button.row")).to_have_count(len(ENDPOINTS))
    save(visitor, "dashboard-requests")


def test_people(visitor: Visitor, public: httpx2.Client, product: Product) -> None:
    key = make_key(product, make_project(product), *Scope)
    headers = {"X-API-Key": key}
    user = {
        "email": "bob@example.com",
        "username": "bob",
        "first_name": "Bob",
        "last_name": "Brown",
        "phone": "0301234567",
    }
    user_id = public.post("/api/user", json=user, headers=headers).raise_for_status().json()["id"]
    for device, name in (("till-4", "Till at the door"), ("scanner-1", None)):
        made = {"device_id": device, "name": name, "user_id": user_id}
        public.post("/api/v1/devices/", json=made, headers=headers).raise_for_status()
    visitor.enter(public, key, f"/dashboard/people?user={user_id}")
    expect(visitor.page.locator("#facts a")).to_have_count(2)
    save(visitor, "dashboard-people")


def test_store(visitor: Visitor, public: httpx2.Client, product: Product) -> None:
    key = make_key(product, make_project(product))
    headers = {"X-API-Key": key}
    users = []
    for number in range(USERS):
        name = f"user-{number}"
        user = {"email": f"{name}@example.com", "username": name, "first_name": "A", "last_name": "B", "phone": "03"}
        users.append(public.post("/api/user", json=user, headers=headers).raise_for_status().json()["id"])
    now = clock.now()
    # The oldest day first: the later ones have users who were there before.
    events = [
        {
            "type": name,
            "user_id": users[(number * number + day) % (USERS - day)],
            "data": {},
            "occurred_at": (now - timedelta(days=day)).isoformat(),
        }
        for day in reversed(range(30))
        for name, most in PER_DAY.items()
        for number in range(round(most * (1.4 + math.sin((day + len(name)) / 7 * 2 * math.pi)) / 2.4 * (1 - day / 60)))
    ]
    public.post("/api/event/batch", json=events, headers=headers).raise_for_status()
    visitor.enter(public, key, "/dashboard/store?range=7d")
    expect(visitor.page.locator("#types input")).to_have_count(len(PER_DAY))
    save(visitor, "dashboard-store")


def test_overview(visitor: Visitor, public: httpx2.Client, product: Product, project: str, key: str) -> None:
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
    manager = make_key(product, project, Scope.MANAGE)
    draft = {"view": "auth_events", "range": "24h"}
    made = public.post(f"/api/v1/projects/{project}/shares", json=draft, headers={"X-API-Key": manager})
    visitor.page.goto(f"{made.raise_for_status().json()['path']}?theme=dark")
    expect(visitor.page.locator("#types tbody tr")).to_have_count(4)
    save(visitor, "shared-page")


def test_devices(visitor: Visitor, public: httpx2.Client, key: str) -> None:
    now = clock.now()
    headers = {"X-API-Key": key}
    for device, name in (("hall/boiler 7", "Boiler room"), ("roof-2", "Roof"), ("gate", None)):
        public.post("/api/v1/devices/", json={"device_id": device, "name": name}, headers=headers).raise_for_status()
    for device, since in (("hall%2Fboiler%207", 1), ("roof-2", 190)):
        rows = [
            {
                "x": round(20 + 4 * math.sin(minute / 229) + 0.7 * math.sin(minute * minute), 3),
                "y": round(math.cos(minute / 307) + 0.3 * math.sin(minute * minute), 3),
                "z": round(9.81 + 0.02 * math.sin(minute), 4),
                "timestamp": (now - timedelta(minutes=minute)).isoformat(),
            }
            for minute in range(since, 48 * 60, 3)
        ]
        public.post(f"/api/v1/stats/devices/{device}/batch", json=rows, headers=headers).raise_for_status()
    visitor.enter(public, key, "/dashboard/devices?device=hall%2Fboiler+7")
    expect(visitor.page.locator("#rows tbody tr")).to_have_count(100)
    save(visitor, "dashboard-device")
    visitor.page.get_by_role("link", name="All devices").click()
    expect(visitor.page.locator("#devices tbody tr")).to_have_count(3)
    save(visitor, "dashboard-devices")


def test_administration(visitor: Visitor, public: httpx2.Client, email: str) -> None:
    headers = bearer(login(public, email).json()["access_token"])
    project = public.post("/api/v1/projects/", json={"name": "Shop", "retention_days": 90}, headers=headers).json()
    keys = f"/api/v1/projects/{project['project_key']}/api-keys/"
    for name, scopes, limit in (
        ("till 4", ["ingest"], "600/minute"),
        ("board", ["read"], None),
        ("old", ["read"], None),
    ):
        draft = {"name": name, "scopes": scopes, "rate_limit": limit}
        made = public.post(keys, json=draft, headers=headers).raise_for_status().json()
    public.patch(f"{keys}{made['id']}", json={"is_active": False}, headers=headers).raise_for_status()
    until = (clock.now() + timedelta(days=30)).isoformat()
    for share in (
        {"view": "requests", "range": "7d", "expires_at": until, "frame_ancestors": ["https://status.example.com"]},
        {"view": "device", "device_id": "hall/boiler 7", "expires_at": until},
        {"view": "auth_events"},
    ):
        path = f"/api/v1/projects/{project['project_key']}/shares"
        public.post(path, json=share, headers=headers).raise_for_status()
    visitor.log_in(email, PHRASE, "/dashboard/administration")
    expect(visitor.page.locator("#keys tbody tr")).to_have_count(3)
    save(visitor, "dashboard-administration")
    shares = visitor.page.get_by_role("region", name="Shares", exact=True)
    expect(shares.locator("#shares tbody tr")).to_have_count(3)
    shares.screenshot(path=IMAGES / "dashboard-shares.png")
