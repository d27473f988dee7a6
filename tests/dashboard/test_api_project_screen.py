"""The screen of an API project: its figures, its endpoints, and whose they are."""

import subprocess
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE, bearer, login
from tests.dashboard.browsing import XSS, Visitor
from tests.servers import Product

SCREEN = "/dashboard/requests"
# The page asks every five seconds.
NEXT_POLL = 12_000
NONE = "\N{EN DASH}"
REQUESTS = [
    ("GET", "/orders/{id}", 200, 10, 4),
    ("GET", "/orders/{id}", 404, 20, 1),
    ("POST", "/orders", 503, 900, 2),
    ("GET", f"/{XSS}", 200, 100, 3),
]


def record(public: httpx2.Client, key: str) -> None:
    """Ten requests, and three that the client has lost."""
    items = [
        {
            "method": method,
            "url_path": path,
            "response_status_code": status,
            "response_time_ms": time,
            "consumer": f"{XSS}{number}",
        }
        for method, path, status, time, times in REQUESTS
        for number in range(times)
    ]
    headers = {"X-API-Key": key, "X-Dropped-Events": "3"}
    answer = public.post("/api/v1/track/batch", json=items, headers=headers).raise_for_status().json()
    assert answer["registered"] == len(items) == 10


@pytest.fixture(scope="module")
def filled(product: Product, public: httpx2.Client) -> str:
    """The key of a project with requests."""
    key = make_key(product, make_project(product))
    record(public, key)
    return key


@pytest.fixture
def screen(visitor: Visitor, public: httpx2.Client, filled: str) -> Visitor:
    """Looks at that project."""
    visitor.enter(public, filled, SCREEN)
    visitor.expect_live()
    expect(lines(visitor.page)).to_have_count(3)
    return visitor


@pytest.fixture(scope="module")
def account(public: httpx2.Client, email: str) -> dict[str, str]:
    """The token of an account."""
    return bearer(login(public, email).json()["access_token"])


def lines(page: Page) -> Locator:
    """The endpoints, without what opens below them."""
    return page.locator("#endpoints > tbody > tr:has(> th)")


def names(page: Page) -> list[str]:
    return lines(page).locator("th").all_inner_texts()


def make_own_project(public: httpx2.Client, account: dict[str, str], name: str) -> tuple[str, str]:
    """The key of a new project of the account, and an API key."""
    root = "/api/v1/projects"
    project = public.post(root, json={"name": name}, headers=account).raise_for_status().json()["project_key"]
    key = public.post(f"{root}/{project}/api-keys", json={"name": "k", "scopes": ["ingest"]}, headers=account)
    return project, key.raise_for_status().json()["key"]


def test_it_shows_every_figure(screen: Visitor) -> None:
    shown = {name: screen.figure(name).split("\n") for name in ("Requests", "Error rate", "p50", "Apdex", "Consumers")}
    assert shown["Requests"][0] == "10"
    assert shown["Error rate"] == ["30%", "4xx:\u00a01 · 5xx:\u00a02"]
    assert abs(float(shown["p50"][0].removesuffix(" ms")) - 20) <= 0.2  # within 1 %
    assert shown["Apdex"] == ["0.9"]  # eight are within 500 ms, and two within four times as long
    assert shown["Consumers"][0] == "4"
    expect(screen.page.locator("#dropped")).to_contain_text("Dropped by clients: 3.")
    expect(screen.page.locator("#chart figcaption")).to_contain_text("Requests, last 24 hours: 10")
    expect(screen.page.locator("#times figcaption")).to_contain_text("the highest p95 of an hour is 9")
    expect(screen.page.locator("#empty")).to_be_hidden()


def test_the_charts_can_be_read(screen: Visitor) -> None:
    page = screen.page
    for chart, said in (("#chart", "Status below 400 7, 4xx 1, 5xx 2, together 10"), ("#times", "p50 ")):
        screen.read_back_to(chart, said)
    page.keyboard.press("Home")  # an hour without a request
    expect(page.locator("#times [aria-live=polite]")).to_contain_text(f"p50 {NONE}, p95 {NONE}, p99 {NONE}")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(screen: Visitor, axe: str, theme: str) -> None:
    screen.page.get_by_label("Theme").select_option(theme)
    lines(screen.page).first.get_by_role("button").click()
    assert screen.violations(axe) == []


def test_the_endpoints_are_sorted_by_keyboard(screen: Visitor) -> None:
    page = screen.page
    hostile = f"GET /{XSS}"
    assert names(page) == ["GET /orders/{id}", hostile, "POST /orders"]
    for heading, order, first in (
        ("Errors", "descending", "POST /orders"),
        ("Errors", "ascending", hostile),
        ("p99", "descending", "POST /orders"),
        ("Endpoint", "ascending", hostile),
    ):
        page.get_by_role("button", name=heading, exact=True).press("Enter")
        expect(page.locator("#endpoints th", has_text=heading).first).to_have_attribute("aria-sort", order)
        assert page.locator("#endpoints [aria-sort]").count() == 1
        assert names(page)[0] == first
    page.get_by_role("button", name="Requests", exact=True).press("Space")
    # A link shows the same.
    page.get_by_role("button", name="p50").press("Enter")
    page.reload()
    screen.expect_live()
    expect(page.locator("#endpoints th", has_text="p50").first).to_have_attribute("aria-sort", "descending")
    assert names(page)[0] == "POST /orders"


def test_the_endpoints_are_filtered_and_the_url_has_it(screen: Visitor) -> None:
    page = screen.page
    page.get_by_label("Filter").fill("ORDERS/")
    assert names(page) == ["GET /orders/{id}"]
    expect(page.locator("#endpoints-state")).to_have_text("1 of 3 rows")
    page.reload()
    expect(lines(page)).to_have_count(1)
    page.get_by_label("Filter").fill("nothing like that")
    assert names(page) == []
    page.get_by_label("Filter").fill("")
    assert len(names(page)) == 3
    assert "filter" not in parse_qs(urlsplit(page.url).query)


def test_a_row_opens_by_keyboard_and_stays_open(screen: Visitor) -> None:
    page = screen.page
    button = page.get_by_role("button", name="POST /orders", exact=True)
    button.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    detail = page.locator("#endpoints dl")
    expect(detail).to_contain_text("Slowest\n900 ms", use_inner_text=True)
    cells = page.locator("#endpoints table tbody tr")
    expect(cells).to_have_count(1)  # of this endpoint alone
    assert cells.locator("th, td").all_inner_texts()[:3] == ["1,000 ms", "2", "100%"]
    page.get_by_role("button", name="Errors", exact=True).click()
    with page.expect_response("**/metrics/endpoints*"):
        pass
    expect(detail).to_be_visible()
    button.press("Enter")
    expect(detail).to_be_hidden()


def test_each_endpoint_shows_the_shape_of_its_range(screen: Visitor) -> None:
    page = screen.page
    trends = page.locator("#endpoints .sparkline")
    assert sorted(trends.evaluate_all("all => all.map((each) => each.getAttribute('aria-label'))")) == [
        "at most 2 requests in an hour", "at most 3 requests in an hour", "at most 5 requests in an hour",
    ]  # fmt: skip
    with page.expect_request("**/endpoints/time-series?granularity=day&**"):
        page.locator("body").press("m")
    expect(trends.first).to_have_attribute("aria-label", "at most 5 requests in a day")


def test_the_distribution_has_every_request(screen: Visitor) -> None:
    rows = screen.page.locator("#distribution tbody tr")
    shown = {row.locator("th").inner_text(): row.locator("td").first.inner_text() for row in rows.all()}
    assert shown == {
        "10 ms": "4", "20 ms": "1", "50 ms": "0", "100 ms": "3", "200 ms": "0", "500 ms": "0", "1,000 ms": "2",
    }  # fmt: skip


def test_the_requests_of_the_page_are_those_of_curl(screen: Visitor) -> None:
    with screen.page.expect_request("**/metrics/time-series*") as asked:
        screen.page.locator("body").press("y")
    query = parse_qs(urlsplit(asked.value.url).query)
    assert (query["granularity"], query["timezone"]) == (["hour"], ["Europe/Berlin"])
    assert query["end_date"][0].endswith(":59:59.999Z")  # both ends are included
    assert asked.value.headers.get("authorization") is None
    expect(screen.page.locator("#chart figcaption")).to_have_text("Requests, yesterday: 0, none before either.")
    # There are no months of API requests.
    screen.page.locator("[name=range]").select_option("12m")
    assert screen.page.locator("[name=interval] option").all_inner_texts() == ["day"]
    screen.expect_live()


def test_the_tables_can_be_taken_along(screen: Visitor) -> None:
    for section, first in (("#endpoints-csv", "method,url_path,"), ("#distribution-csv", "from_ms,to_ms,count")):
        with screen.page.expect_download() as download:
            screen.page.locator(section).click()
        assert download.value.path().read_text().startswith(first)


def test_names_of_others_run_nothing(screen: Visitor) -> None:
    assert f"GET /{XSS}" in names(screen.page)
    assert screen.page.locator("img").count() == 0
    screen.page.goto(f"{SCREEN}?filter={XSS}&sort={XSS}&project={XSS}")
    screen.expect_live()
    assert screen.page.locator("img").count() == 0
    assert screen.page.get_by_label("Filter").input_value() == XSS


def test_an_empty_project_shows_a_curl_line_that_works(visitor: Visitor, product: Product) -> None:
    key = make_key(product, make_project(product))
    visitor.open_project(key, SCREEN)
    visitor.expect_live()
    expect(visitor.page.locator("#empty")).to_be_visible()
    assert visitor.figure("p50") == visitor.figure("Apdex") == NONE
    line = visitor.page.locator("#curl").inner_text()
    assert product.public_url in line
    assert key not in line
    environment = {"API_KEY": key, "PATH": "/usr/bin:/bin"}
    sent = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, check=True)
    assert b'"url_path":"/orders/{id}"' in sent.stdout
    expect(visitor.page.locator("#empty")).to_be_hidden(timeout=NEXT_POLL)
    assert visitor.figure("Requests").split("\n")[0] == "1"


def test_a_service_in_trouble_is_said_in_words(screen: Visitor) -> None:
    page = screen.page
    page.route("**/metrics/summary*", lambda route: route.fulfill(status=503, body='{"detail": "It is away."}'))
    expect(page.get_by_role("alert")).to_contain_text("It is away.", timeout=NEXT_POLL)
    expect(page.locator("#state-text")).to_contain_text("Stale since")
    assert len(names(page)) == 3  # what is known stays


def test_an_account_chooses_among_its_projects(
    visitor: Visitor, public: httpx2.Client, account: dict[str, str], email: str
) -> None:
    visitor.log_in(email, PHRASE, SCREEN)
    page = visitor.page
    expect(page.locator("#no-project")).to_be_visible()
    assert "/api/v1/projects'" in page.locator("#project-curl").inner_text()
    empty, _ = make_own_project(public, account, f"first {XSS}")
    full, key = make_own_project(public, account, "second")
    record(public, key)
    page.reload()
    picker = page.locator("[name=project]")
    expect(picker).to_have_value(empty)
    assert page.locator("img").count() == 0
    picker.select_option(full)
    expect(lines(page)).to_have_count(3)
    assert parse_qs(urlsplit(page.url).query)["project"] == [full]
    page.go_back()
    expect(picker).to_have_value(empty)
    expect(lines(page)).to_have_count(0)
    # The range keeps the project.
    picker.select_option(full)
    page.locator("body").press("t")
    assert parse_qs(urlsplit(page.url).query)["project"] == [full]


def test_a_link_to_a_project_of_others_shows_nothing_of_it(
    visitor: Visitor, public: httpx2.Client, email: str, project: str, account: dict[str, str]
) -> None:
    make_own_project(public, account, "third")
    visitor.log_in(email, PHRASE, f"{SCREEN}?project={project}")
    expect(visitor.page.get_by_role("alert")).to_contain_text("Project not found")
    expect(visitor.page.locator("#figures dd")).to_have_count(0)


def test_a_session_says_which_project_it_is_of(public: httpx2.Client, key: str, project: str) -> None:
    own_page = {"Sec-Fetch-Site": "same-origin"}
    path = "/dashboard/session/project"
    assert public.get(path).status_code == 401
    cookie = public.post("/dashboard/session", json={"api_key": key}, headers=own_page).headers["set-cookie"]
    headers = {"Cookie": cookie.partition(";")[0]}
    answer = public.get(path, headers=headers)
    assert answer.json() == {"project_key": project, "name": "shop", "timezone": "UTC"}
    assert answer.headers["cache-control"] == "no-store"
    assert public.get(path, headers={**headers, "Sec-Fetch-Site": "cross-site"}).status_code == 403
