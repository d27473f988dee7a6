"""The screen of devices in a browser: which are silent, what one has measured, and what a stranger's name can do."""

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import quote, urlencode

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, Route, expect

from servicekit.process import clock
from tests.access.conftest import make_key, make_project
from tests.dashboard.browsing import XSS, Visitor
from tests.servers import Product

PATH = "/dashboard/devices"
DEVICES = "/api/v1/devices/"
MEASUREMENTS = "/api/v1/stats/devices/"
BOILER = "hall/boiler 7"
# A poll is due after 5 seconds, and after a failure 10 seconds later.
POLLED = 20_000
# x, y, z, and how many minutes ago.
ROWS = ((0.1, -1.5, 9.81, 200), (0.2, -1.0, 9.8, 130), (0.4, 2.5, 9.79, 61))
NONE = "\N{EN DASH}"
ANALYSIS = [
    ["x", "0.1", "0.4", "3", "0.7", "0.2"],
    ["y", "-1.5", "2.5", "3", "0", "-1"],
    ["z", "9.79", "9.81", "3", "29.4", "9.8"],
]


def create(public: httpx2.Client, key: str, device: str, name: str | None = None) -> None:
    body = {"device_id": device, "name": name}
    public.post(DEVICES, json=body, headers={"X-API-Key": key}).raise_for_status()


def measure(public: httpx2.Client, key: str, device: str, rows: tuple[tuple[float, float, float, int], ...]) -> None:
    now = clock.now()
    items = [{"x": x, "y": y, "z": z, "timestamp": (now - timedelta(minutes=ago)).isoformat()} for x, y, z, ago in rows]
    path = f"{MEASUREMENTS}{quote(device, safe='')}/batch"
    answer = public.post(path, json=items, headers={"X-API-Key": key}).raise_for_status()
    assert answer.json()["registered"] == len(rows)


def of(device: str, **others: str) -> str:
    return f"{PATH}?{urlencode({'device': device, **others})}"


def cells(page: Page, table: str) -> list[list[str]]:
    return [row.locator("th, td").all_inner_texts() for row in page.locator(f"{table} tbody tr").all()]


@pytest.fixture(scope="module")
def filled(product: Product, public: httpx2.Client) -> str:
    """The key of a project with three devices: silent, reporting, and one that has measured nothing."""
    key = make_key(product, make_project(product))
    create(public, key, BOILER, "Boiler room")
    measure(public, key, BOILER, ROWS)
    create(public, key, XSS, XSS)
    measure(public, key, XSS, ((1e300, -0.1, 5e-324, 0),))
    create(public, key, "new")
    return key


@pytest.fixture
def listed(visitor: Visitor, public: httpx2.Client, filled: str) -> Visitor:
    """Looks at the list."""
    visitor.enter(public, filled, PATH)
    visitor.expect_live()
    return visitor


@pytest.fixture
def boiler(visitor: Visitor, public: httpx2.Client, filled: str) -> Visitor:
    """Looks at one device."""
    visitor.enter(public, filled, of(BOILER))
    visitor.expect_live()
    return visitor


@pytest.fixture
def no_dialog(page: Page) -> Iterator[None]:
    """Fails the test in which a script of others shows something."""
    shown: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        shown.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    yield
    assert shown == []


def test_the_list_says_who_is_silent_since_when(listed: Visitor) -> None:
    page = listed.page
    boiler, strange, new = cells(page, "#devices")
    assert (boiler[:2], boiler[4:]) == ([BOILER, "Boiler room"], ["0.4", "2.5", "9.79", NONE])
    assert re.fullmatch(r"Silent since .+, \d\d:\d\d", boiler[2])
    assert strange[:3] == [XSS, XSS, "Reporting"]
    assert (new[1:4], new[4:]) == ([NONE, "Nothing measured yet", NONE], [NONE] * 4)
    expect(page.locator("#devices caption")).to_contain_text("Devices 1 to 3, the oldest first; 1 of them silent")
    page.get_by_label("Silent after").select_option("1 day")
    expect(page.locator("#devices caption")).to_contain_text("0 of them silent")
    page.reload()
    listed.expect_live()
    assert cells(page, "#devices")[0][2] == "Reporting"


def test_a_device_is_opened_left_and_opened_by_its_id(listed: Visitor) -> None:
    page = listed.page
    page.get_by_role("link", name=BOILER).press("Enter")
    heading = page.locator("#device-heading")
    expect(heading).to_have_text(BOILER)
    expect(heading).to_be_focused()
    expect(page.locator("#device-text")).to_have_text("Boiler room · No owner")
    page.get_by_role("link", name="All devices").click()
    expect(page.locator("#devices")).to_be_visible()
    page.go_back()
    expect(heading).to_be_visible()
    page.go_back()
    page.get_by_label("Device id").fill("new")
    page.get_by_label("Device id").press("Enter")
    expect(heading).to_have_text("new")
    expect(page.locator("#analysis-note")).to_have_text("Nothing was measured in the range.")
    # Nothing of another device stays.
    page.goto(of(BOILER))
    expect(page.locator("#rows tbody tr")).to_have_count(len(ROWS))
    page.get_by_role("link", name="All devices").click()
    page.get_by_label("Device id").fill("unknown")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_contain_text("Device not found. (request ")
    expect(page.locator("#rows tbody tr")).to_have_count(0)
    expect(page.locator("figure")).to_have_count(0)


@pytest.mark.parametrize("device", ["", ".", ".."], ids=["empty", "dot", "dots"])
def test_what_no_path_can_name_is_no_device(visitor: Visitor, public: httpx2.Client, filled: str, device: str) -> None:
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url))
    visitor.enter(public, filled, of(device))
    expect(visitor.page.get_by_role("alert")).to_have_text("Device not found.")
    assert not any("/api/" in url for url in asked)


def test_a_device_shows_its_analysis_its_series_and_its_rows(boiler: Visitor) -> None:
    page = boiler.page
    assert cells(page, "#analysis") == ANALYSIS
    assert [row[1:] for row in cells(page, "#rows")] == [[f"{each:g}" for each in row[:3]] for row in ROWS[::-1]]
    captions = page.locator("figcaption").all_inner_texts()
    assert captions == [
        f"{axis}, last 24 hours: 3 measurements, mean with min and max of each hour." for axis in ("x", "y", "z")
    ]
    page.get_by_role("button", name="Show as table").nth(1).click()
    table = page.locator("figure").nth(1).locator("tbody tr")
    expect(table).to_have_count(25)
    shown = [row.locator("td").all_inner_texts() for row in table.all()]
    assert [row[0] for row in shown if row[0] != NONE] == ["-1.5", "-1", "2.5"]
    surface = page.locator(".surface").nth(1)
    surface.focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.locator("figure").nth(1).locator("[aria-live=polite]")).to_contain_text("mean ")


def test_it_is_live(visitor: Visitor, public: httpx2.Client, product: Product) -> None:
    key = make_key(product, make_project(product))
    create(public, key, "d")
    visitor.enter(public, key, of("d", range="7d"))
    visitor.expect_live()
    expect(visitor.page.locator("#analysis-note")).to_have_text("Nothing was measured in the range.")
    measure(public, key, "d", ((1, 2, 3, 0),))
    expect(visitor.page.locator("#rows tbody tr")).to_have_count(1, timeout=POLLED)
    expect(visitor.page.locator("#analysis-note")).to_be_empty()
    assert cells(visitor.page, "#analysis")[2] == ["z", "3", "3", "1", "3", "3"]


def test_the_figures_are_those_of_the_api_with_every_digit(
    visitor: Visitor, public: httpx2.Client, filled: str
) -> None:
    visitor.enter(public, filled, of(XSS, range="7d"))
    visitor.expect_live()
    assert [row[1] for row in cells(visitor.page, "#analysis")] == ["1E300", "-0.1", "5E-324"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["list", "device", "empty"])
def test_axe_finds_nothing(
    visitor: Visitor, public: httpx2.Client, product: Product, filled: str, axe: str, view: str, theme: str
) -> None:
    key = make_key(product, make_project(product)) if view == "empty" else filled
    visitor.enter(public, key, of(BOILER) if view == "device" else PATH)
    visitor.expect_live()
    visitor.page.get_by_label("Theme").select_option(theme)
    for button in visitor.page.get_by_role("button", name="Show as table").all()[:1]:
        button.click()
    assert visitor.violations(axe) == []


def test_without_a_device_curl_lines_that_work_are_shown(
    visitor: Visitor, public: httpx2.Client, product: Product
) -> None:
    key = make_key(product, make_project(product))
    visitor.enter(public, key, PATH)
    visitor.expect_live()
    expect(visitor.page.locator("#list")).to_be_hidden()
    lines = visitor.page.locator("#curl").inner_text()
    assert key not in lines
    subprocess.run(["bash", "-ec", lines], env={"API_KEY": key, "PATH": "/usr/bin:/bin"}, check=True)
    expect(visitor.page.locator("#devices tbody tr")).to_have_count(1, timeout=POLLED)
    assert cells(visitor.page, "#devices")[0][:3] == ["sensor-7", "Boiler room", "Reporting"]


def test_everything_is_reached_by_keyboard(boiler: Visitor) -> None:
    page = boiler.page
    page.locator("body").press("w")
    page.wait_for_url("**range=7d*")
    assert "device=" in page.url
    reached = []
    page.locator("#back").focus()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("(({activeElement: it}) => it.getAttribute('aria-label') ?? it.textContent)(document)")
        )
    for name in (
        "Analysis",
        "Axis x. The arrow",
        "Axis z. The arrow",
        "CSV",
        "Latest measurements",
        "CSV of these rows",
    ):
        assert any(str(each).startswith(name) for each in reached), (name, reached)


def test_a_device_can_be_taken_along(boiler: Visitor, context: BrowserContext, filled: str) -> None:
    page = boiler.page
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").first.click()
    assert download.value.suggested_filename == "measurements.csv"
    assert download.value.path().read_text().startswith("start,x_min,")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of these rows").click()
    lines = download.value.path().read_text().splitlines()
    assert (lines[0], len(lines), lines[1].partition(",")[2]) == ("timestamp,x,y,z", 4, "0.4,2.5,9.79")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    for name, said in (("Copy the analysis as curl", b'"median":0.2'), ("Copy the rows as curl", b'"z":9.79')):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        line = page.evaluate("navigator.clipboard.readText()")
        expect(page.get_by_role("button", name=name)).to_be_visible()
        environment = {"API_KEY": filled, "PATH": "/usr/bin:/bin"}
        sent = subprocess.run(["bash", "-ec", line], env=environment, capture_output=True, check=True)
        assert said in sent.stdout


def test_an_analysis_in_trouble_leaves_the_rest(boiler: Visitor) -> None:
    page = boiler.page

    def refuse(route: Route) -> None:
        body = json.dumps({"detail": "Too many analyses at once.", "code": "overloaded"})
        route.fulfill(status=503, body=body, headers={"Retry-After": "1", "X-Request-ID": "r-1"})

    page.route("**/analyze", refuse)
    page.locator("body").press("m")
    expect(page.get_by_role("alert")).to_contain_text("Too many analyses at once. (request r-1)")
    expect(page.locator("figcaption").first).to_contain_text("x, last 30 days: 3 measurements")
    assert cells(page, "#analysis")[0][1:] == [NONE] * 5
    page.unroute("**/analyze")
    expect(page.get_by_role("alert")).to_be_empty(timeout=POLLED)
    assert cells(page, "#analysis") == ANALYSIS


@pytest.mark.usefixtures("no_dialog")
def test_names_of_others_run_nothing(visitor: Visitor, public: httpx2.Client, filled: str) -> None:
    for address in (PATH, of(XSS), f"{PATH}?{urlencode({'page': XSS, 'silent': XSS, 'range': XSS})}"):
        visitor.enter(public, filled, address)
        visitor.expect_live()
        expect(visitor.page.get_by_text(XSS).first).to_be_visible()
        assert visitor.page.locator("main img").count() == 0


def test_pages_of_a_long_list(visitor: Visitor, public: httpx2.Client, product: Product) -> None:
    key = make_key(product, make_project(product))
    for number in range(101):
        create(public, key, f"d{number}")
    visitor.enter(public, key, PATH)
    visitor.expect_live()
    page = visitor.page
    expect(page.locator("#devices tbody tr")).to_have_count(100)
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#devices tbody tr")).to_have_count(1)
    expect(page.locator("#devices caption")).to_contain_text("Devices 101 to 101")
    page.reload()
    expect(page.locator("#devices tbody tr")).to_have_count(1)
    page.get_by_role("button", name="Previous page").click()
    expect(page.locator("#devices tbody tr")).to_have_count(100)
