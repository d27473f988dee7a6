"""The overview in a browser: with figures, without any, with the service in trouble; by mouse, keyboard and ear."""

import re
import subprocess
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, Route, expect

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE
from tests.dashboard.browsing import XSS, Visitor
from tests.servers import Product

BYTES_MAX = 100_000
EVENTS = {"iOS": 5, "Android": 3, "Watch": 1}
NAME_OF_FOCUSED = """
    (({ activeElement: it }) => it.getAttribute("aria-label") ?? it.name ?? it.textContent)(document)
"""


@pytest.fixture(scope="module")
def filled(product: Product, public: httpx2.Client) -> str:
    """The key of a project with events."""
    key = make_key(product, make_project(product))
    events = [{"userKey": XSS, "deviceType": name} for name, count in EVENTS.items() for _ in range(count)]
    public.post("/Log/auth/batch", json=events, headers={"X-API-Key": key}).raise_for_status()
    return key


@pytest.fixture
def overview(visitor: Visitor, public: httpx2.Client, filled: str) -> Visitor:
    """Looks at the overview of that project."""
    visitor.enter(public, filled)
    visitor.expect_live()
    expect(visitor.page.locator("#types tbody tr")).to_have_count(4)
    return visitor


@pytest.fixture
def no_dialog(page: Page) -> Iterator[list[str]]:
    """What scripts of others would show."""
    shown: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        shown.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    yield shown
    assert shown == []


def cells(page: Page) -> dict[str, list[str]]:
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator("#types tbody tr").all()]
    return {name: rest for name, *rest in rows}


def test_it_shows_every_figure(overview: Visitor) -> None:
    assert {name: overview.figure(name) for name in ("Total", "iOS", "Android", "Watch", "TV")} == {
        "Total": "9", "iOS": "5", "Android": "3", "Watch": "1", "TV": "0",
    }  # fmt: skip
    shown = cells(overview.page)
    assert {name: row[0] for name, row in shown.items()} == {"Android": "3", "TV": "0", "Watch": "1", "iOS": "5"}
    assert shown["iOS"][1] == "55.6%"
    assert (shown["TV"][3], shown["iOS"][3][:6]) == ("none in the range", "after ")
    caption = overview.page.locator("#chart figcaption")
    expect(caption).to_contain_text("Auth events, last 24 hours: 9")


def test_it_is_live(overview: Visitor, public: httpx2.Client, filled: str) -> None:
    before = overview.figure("TV"), overview.figure("Total")
    event = {"userKey": "u", "deviceType": "TV"}
    public.post("/Log/auth", json=event, headers={"X-API-Key": filled}).raise_for_status()
    figure = overview.page.locator("#figures dd").first
    expect(figure).to_have_text("10")
    assert before == ("0", "9")
    expect(overview.page.locator("#chart figcaption")).to_contain_text("10")
    assert re.fullmatch(r"\d\d:\d\d:\d\d", cells(overview.page)["TV"][3])


def test_while_nothing_changes_a_poll_has_no_body(overview: Visitor) -> None:
    with overview.page.expect_response("**/Log/auth/statistics") as polled:
        pass
    assert polled.value.status == 304
    asked: list[str] = []
    overview.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    with overview.page.expect_response("**/Log/auth/statistics"):
        pass
    assert set(asked) <= {"/Log/auth/statistics"}


def test_a_hidden_page_asks_nothing(overview: Visitor) -> None:
    page = overview.page
    hidden = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    change = "document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hidden % "true" + change)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2_500)  # a poll is due after two seconds
    assert asked == []
    with page.expect_response("**/Log/auth/statistics"):
        page.evaluate(hidden % "false" + change)


def test_axe_finds_nothing_wrong_with_the_table_of_the_chart(overview: Visitor, axe: str) -> None:
    overview.page.get_by_role("button", name="Show as table").click()
    assert overview.violations(axe) == []


def test_a_chosen_theme_stays(overview: Visitor) -> None:
    html = overview.page.locator("html")
    for theme in ("dark", "light"):
        overview.page.get_by_label("Theme").select_option(theme)
        overview.page.reload()
        expect(html).to_have_attribute("data-theme", theme)
    expect(overview.page.get_by_label("Theme")).to_have_value("light")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_wrong_with_the_log_in_and_an_empty_overview(
    visitor: Visitor, product: Product, axe: str, theme: str
) -> None:
    visitor.page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    visitor.page.goto("/dashboard")
    assert visitor.violations(axe) == []
    visitor.open_project(make_key(product, make_project(product)))
    visitor.expect_live()
    expect(visitor.page.locator("#empty")).to_be_visible()
    assert visitor.violations(axe) == []


def test_an_empty_project_shows_a_curl_line_that_works(visitor: Visitor, product: Product) -> None:
    key = make_key(product, make_project(product))
    visitor.open_project(key)
    visitor.expect_live()
    line = visitor.page.locator("#curl").inner_text()
    assert product.public_url in line
    assert key not in line
    sent = subprocess.run(
        ["bash", "-c", line], env={"API_KEY": key, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert b"registered successfully" in sent.stdout
    expect(visitor.page.locator("#empty")).to_be_hidden()
    assert visitor.figure("Total") == "1"


def test_everything_is_reached_by_keyboard(overview: Visitor) -> None:
    page = overview.page
    page.locator("body").press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    reached: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(NAME_OF_FOCUSED))
        if "Events by device type" in reached:
            break
    names = " | ".join(filter(None, map(str, reached)))
    for name in ("range", "interval", "compare", "zone", "The arrow keys move", "Events by device type"):
        assert name in names, names


def test_the_arrow_keys_read_the_chart(overview: Visitor) -> None:
    page = overview.page
    live = overview.read_back_to("#chart", "iOS 5")
    expect(live).to_contain_text("together")
    last = live.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(live).to_contain_text("iOS 0")
    page.keyboard.press("ArrowRight")
    expect(live).to_have_text(last)
    page.keyboard.press("Home")
    expect(live).not_to_have_text(last)


def test_keys_choose_the_range_and_the_url_has_it(overview: Visitor) -> None:
    page = overview.page
    for key, name in (("t", "today"), ("y", "yesterday"), ("w", "7d"), ("m", "30d")):
        page.locator("body").press(key)
        page.wait_for_url(f"**range={name}*")
        assert page.locator("[name=range]").input_value() == name
    page.locator("body").press("x")
    page.wait_for_url("**compare=off*")
    expect(page.locator("#chart figcaption")).not_to_contain_text("before")
    # The link shows the same to others, and "back" the range before.
    page.reload()
    overview.expect_live()
    assert page.locator("[name=range]").input_value() == "30d"
    page.go_back()
    assert page.locator("[name=compare]").input_value() == "previous"
    # Whoever types into a field chooses no range, nor who has switched the keys off.
    page.locator("[name=compare]").press("y")
    page.get_by_label("Keys T, Y, W, M, X").uncheck()
    page.locator("body").press("y")
    assert page.locator("[name=range]").input_value() == "30d"
    page.reload()
    page.locator("body").press("y")
    assert page.locator("[name=range]").input_value() == "30d"


def test_the_table_behind_the_chart_has_every_bucket(overview: Visitor) -> None:
    overview.page.get_by_role("button", name="Show as table").click()
    rows = overview.page.locator("#chart tbody tr")
    expect(rows).to_have_count(25)
    assert ["5" in row.locator("td").all_inner_texts() for row in rows.all()].count(True) == 1


def test_the_chart_can_be_taken_along(overview: Visitor) -> None:
    page = overview.page
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "timeseries.csv"
    text = download.value.path().read_text()
    assert sum(int(line.rsplit(",", 1)[1]) for line in text.splitlines()[1:]) >= sum(EVENTS.values())
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").click()
    assert download.value.path().read_bytes().startswith(b"\x89PNG")


def test_copy_as_curl_is_the_request_of_the_chart(overview: Visitor, context: BrowserContext, filled: str) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    overview.page.get_by_role("button", name="Copy as curl").click()
    expect(overview.page.get_by_role("button", name="Copied")).to_be_visible()
    line = overview.page.evaluate("navigator.clipboard.readText()")
    sent = subprocess.run(
        ["bash", "-c", line], env={"API_KEY": filled, "PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    assert b'"series"' in sent.stdout


@pytest.mark.parametrize("status", [429, 0])
def test_a_service_in_trouble_is_said_in_words_and_asked_less(overview: Visitor, status: int) -> None:
    page = overview.page

    def fail(route: Route) -> None:
        if status == 0:
            route.abort()
        else:
            body = '{"detail":"The database is away.","code":"not-recorded"}'
            route.fulfill(status=status, body=body, headers={"X-Request-ID": "id-of-the-request", "Retry-After": "1"})

    page.route("**/Log/auth/statistics", fail)
    notice = page.get_by_role("alert")
    expected = "The server cannot be reached." if status == 0 else "The database is away. (request id-of-the-request)"
    expect(notice).to_contain_text(expected)
    expect(page.locator("#state-text")).to_contain_text("Stale since")
    assert overview.figure("iOS") == "5"  # what is known stays
    page.unroute("**/Log/auth/statistics")
    expect(notice).to_be_empty()
    overview.expect_live()


def test_a_session_that_has_ended_leads_to_the_log_in(visitor: Visitor, product: Product) -> None:
    visitor.open_project(make_key(product, make_project(product)))
    visitor.expect_live()
    name = "statistics_project"
    [cookie] = [each for each in visitor.page.context.cookies() if each["name"] == name]
    visitor.page.context.add_cookies([{"name": name, "value": cookie["value"][:-4], "url": product.public_url}])
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert visitor.page.context.cookies() == []


def test_an_account_sees_the_default_project_and_logs_out(visitor: Visitor, email: str) -> None:
    visitor.log_in(email, PHRASE)
    visitor.expect_live()
    expect(visitor.page.locator("#project")).to_contain_text("default")
    assert visitor.page.evaluate("document.cookie") == ""
    visitor.page.get_by_role("button", name="Log out").click()
    expect(visitor.page.get_by_role("heading", name="Log in")).to_be_visible()
    assert visitor.page.context.cookies() == []


def test_a_wrong_password_is_said_in_words(visitor: Visitor, email: str) -> None:
    visitor.page.goto("/dashboard")
    visitor.page.get_by_label("E-mail address").fill(email)
    visitor.page.get_by_label("Password", exact=True).fill("wrong")
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("wrong")
    expect(visitor.page.get_by_role("alert")).to_contain_text("(request ")


def test_names_and_addresses_of_others_run_nothing(
    visitor: Visitor, public: httpx2.Client, filled: str, no_dialog: list[str]
) -> None:
    visitor.enter(public, filled, f"/dashboard?range={XSS}&zone={XSS}&interval={XSS}&from={XSS}#{XSS}")
    visitor.expect_live()
    assert visitor.page.locator("img").count() == 0
    assert visitor.page.locator("[name=range]").input_value() == "24h"
    visitor.page.goto(f"/dashboard?range=custom&from={XSS}&to={XSS}&compare={XSS}")
    visitor.expect_live()
    assert no_dialog == []


def test_another_site_cannot_show_it_in_a_frame(visitor: Visitor, product: Product) -> None:
    page = visitor.page
    frame_of_ours = f"<iframe src='{product.public_url}/dashboard'></iframe>"
    page.route("**/attacker", lambda route: route.fulfill(body=frame_of_ours, content_type="text/html"))
    page.goto("/attacker")
    assert page.frames[1].url.startswith("chrome-error:")
    [complaint] = visitor.complaints
    assert "frame-ancestors" in complaint
    visitor.complaints.clear()


def test_the_first_view_transfers_little(
    visitor: Visitor, public: httpx2.Client, filled: str, context: BrowserContext
) -> None:
    visitor.enter(public, filled)
    visitor.expect_live()
    # A browser that has nothing yet, with the session of that one.
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Network.setCacheDisabled", {"cacheDisabled": True})
    sizes: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.goto("/dashboard")
    expect(page.locator("#types tbody tr")).to_have_count(4)
    assert len(sizes) > 10
    assert sum(sizes) < BYTES_MAX


def test_requests_of_the_page_are_those_of_curl(overview: Visitor) -> None:
    with overview.page.expect_request("**/Log/auth/timeseries*") as asked:
        overview.page.locator("body").press("y")
    query = parse_qs(urlsplit(asked.value.url).query)
    assert query["timezone"] == ["Europe/Berlin"]
    assert asked.value.headers.get("authorization") is None
