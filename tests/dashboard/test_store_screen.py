"""The screen of a store: its events and users of each day, in its own zone."""

import csv
import subprocess
from datetime import datetime, timedelta
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import httpx2
import pytest
from playwright.sync_api import expect

from servicekit.process import clock
from tests.access.conftest import make_key, make_project
from tests.dashboard.browsing import XSS, Visitor
from tests.database import rows
from tests.servers import Product

SCREEN = "/dashboard/store"
# The page asks every ten seconds.
NEXT_POLL = 20_000
# Far from the browser's, which is in Berlin, and where no day begins soon.
ZONE = next(zone for zone in ("Pacific/Auckland", "America/Los_Angeles") if 1 <= datetime.now(ZoneInfo(zone)).hour < 23)
TYPES = ["purchase", XSS, "=visit", "..", "t4", "t5", "t6", "t7"]
SHOWN = ["purchase", XSS, "=visit", "t4", "t5", "t6"]


def add_user(public: httpx2.Client, key: str, name: str) -> str:
    user = {
        "email": f"{name}@example.com",
        "username": name,
        "first_name": "A",
        "last_name": "B",
        "phone": "0301234567",
    }
    return str(public.post("/api/user", json=user, headers={"X-API-Key": key}).raise_for_status().json()["id"])


@pytest.fixture(scope="module")
def filled(product: Product, public: httpx2.Client) -> str:
    """The key of a store with two users, who had events today and two days ago."""
    project = make_project(product)
    statement = "UPDATE project SET timezone = %(zone)s WHERE project_key = %(key)s RETURNING project_id"
    rows(product.database, statement, {"zone": ZONE, "key": project})
    key = make_key(product, project)
    ana, bob = (add_user(public, key, name) for name in ("ana", "bob"))
    earlier = (clock.now() - timedelta(days=2)).isoformat()
    events = [
        *({"type": "purchase", "user_id": user, "data": {}} for user in (ana, ana, bob)),
        {"type": "purchase", "user_id": ana, "data": {}, "occurred_at": earlier},
        *({"type": each, "user_id": ana, "data": {}} for each in TYPES[1:]),
    ]
    answer = public.post("/api/event/batch", json=events, headers={"X-API-Key": key}).raise_for_status().json()
    assert answer["registered"] == len(events)
    return key


@pytest.fixture
def screen(visitor: Visitor, public: httpx2.Client, filled: str) -> Visitor:
    """Looks at that store."""
    visitor.enter(public, filled, SCREEN)
    visitor.expect_live()
    return visitor


def chosen(screen: Visitor) -> list[str]:
    return [box.input_value() for box in screen.page.locator("#types input:checked").all()]


def test_it_shows_every_figure_in_the_zone_of_the_store(screen: Visitor) -> None:
    page = screen.page
    assert [screen.figure(name).split("\n")[0] for name in ("Different users", "New", "Returning")] == ["2", "2", "0"]
    expect(page.locator("#zone")).to_have_text(ZONE)
    assert page.locator("[name=zone] option").all_inner_texts() == [ZONE]
    expect(page.locator("#amounts figcaption")).to_contain_text("Events, last 30 days: 9")
    expect(page.locator("#averages figcaption")).to_have_text(
        "Events for each user of the day, last 30 days: at most 1.5."
    )
    today = clock.now().astimezone(ZoneInfo(ZONE))
    page.locator("#amounts").get_by_role("button", name="Show as table").click()
    last = page.locator("#amounts tbody tr").last
    expect(last.locator("th")).to_contain_text(f"{today.day} {today:%b}")
    assert last.locator("td").all_inner_texts()[:2] == ["3", "1"]
    assert page.locator("#amounts tbody tr").nth(-3).locator("td").first.inner_text() == "1"


def test_users_who_were_there_before_the_range_are_returning(screen: Visitor) -> None:
    screen.page.locator("body").press("t")
    expect(screen.page.locator("#amounts figcaption")).to_contain_text("Events, today: 8")
    assert [screen.figure(name) for name in ("Different users", "New", "Returning")] == ["2", "1", "1"]
    assert screen.page.locator("[name=range] option").count() == 6  # no hours: a store counts days


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(screen: Visitor, axe: str, theme: str) -> None:
    screen.page.get_by_label("Theme").select_option(theme)
    assert screen.violations(axe) == []


def test_types_are_chosen_by_keyboard_and_the_url_has_them(screen: Visitor) -> None:
    page = screen.page
    assert chosen(screen) == SHOWN  # a browser cannot ask for "..", and a chart has six colours
    expect(page.get_by_label("t7")).to_be_disabled()
    for each in ("purchase", "t6"):
        page.get_by_label(each).press("Space")
        expect(page.get_by_label(each)).not_to_be_checked()
    expect(page.get_by_label("t7")).to_be_enabled()
    page.get_by_label("t7").press("Space")
    expect(page.locator("#amounts figcaption")).to_contain_text("Events, last 30 days: 5")
    page.reload()
    screen.expect_live()
    assert chosen(screen) == [XSS, "=visit", "t4", "t5", "t7"]
    assert parse_qs(urlsplit(page.url).query)["type"] == chosen(screen)
    screen.read_back_to("#amounts", "=visit 1, t4 1, t5 1, t7 1, together 5")


def test_names_of_others_run_nothing(screen: Visitor) -> None:
    expect(screen.page.locator("#amounts .legend")).to_contain_text(XSS)
    screen.page.get_by_role("button", name="Show as table").first.click()
    assert screen.page.locator("img").count() == 0
    screen.page.goto(f"{SCREEN}?type={XSS}&range={XSS}&zone={XSS}")
    screen.expect_live()
    assert screen.page.locator("img").count() == 0
    assert chosen(screen) == [XSS]


def test_the_charts_can_be_taken_along(screen: Visitor) -> None:
    with screen.page.expect_download() as download:
        screen.page.locator("#amounts").get_by_role("link", name="CSV").click()
    lines = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert sum(int(each["event_amount"]) for each in lines) == 9
    assert {each["type"] for each in lines} == {*SHOWN, "'=visit"} - {"=visit"}  # no spreadsheet takes it for a formula
    with screen.page.expect_download() as download:
        screen.page.locator("#averages").get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_an_empty_store_shows_curl_lines_that_work(visitor: Visitor, product: Product) -> None:
    key = make_key(product, make_project(product))
    visitor.open_project(key, SCREEN)
    visitor.expect_live()
    expect(visitor.page.locator("#empty")).to_be_visible()
    command = visitor.page.locator("#curl").inner_text()
    assert key not in command
    environment = {"API_KEY": key, "PATH": "/usr/bin:/bin"}
    sent = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=True)
    assert b'"type":"purchase"' in sent.stdout
    expect(visitor.page.locator("#amounts figcaption")).to_contain_text("days: 1", timeout=NEXT_POLL)
    expect(visitor.page.locator("#empty")).to_be_hidden()


def test_a_service_in_trouble_is_said_in_words(screen: Visitor) -> None:
    page = screen.page
    page.route("**/api/event/amount/**", lambda route: route.fulfill(status=503, body='{"detail": "It is away."}'))
    page.locator("body").press("w")
    expect(page.get_by_role("alert")).to_contain_text("It is away.")
    expect(page.locator("#state-text")).to_contain_text("Stale since")
