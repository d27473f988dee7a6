"""The page of a share in a browser: one view, for whoever has the link, until it ends, and in allowed frames alone."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Dialog, Frame, Page, Request, expect

from contract.shares import View
from servicekit.process import clock
from statistics_api.access.shares import FIGURES
from tests.access.conftest import make_key, make_project
from tests.dashboard.browsing import XSS, Visitor
from tests.database import rows
from tests.servers import Cluster, Product

# A poll is due after 10 seconds on the page of a store.
POLLED = 20_000
DEVICE = f"hall/{XSS}"
# What the page of each view shows of what is recorded below.
FIGURE: dict[View, tuple[str, str]] = {
    View.AUTH_EVENTS: ("#figures", "iOS3"),
    View.REQUESTS: ("#figures", "Requests2"),
    View.STORE_EVENTS: ("#figures", "Different users1"),
    View.DEVICE: ("#analysis tbody", "x0.50.510.50.5"),
}
MALFORMED = (
    "x",
    "ds_share_",
    "ds_share_x",
    "ds_share_" + "A" * 23,
    "ds_share_" + "A" * 21 + "%2F",
    "ds_share_" + "%C3%BC" * 22,
)


@pytest.fixture(scope="module")
def shop(product: Product) -> str:
    """The key of a project in Auckland, whose texts are those of an attacker."""
    key = make_project(product)
    statement = (
        "UPDATE project SET timezone = 'Pacific/Auckland', name = %(name)s WHERE project_key = %(key)s RETURNING 1"
    )
    rows(product.database, statement, {"name": XSS, "key": key})
    return key


@pytest.fixture(scope="module")
def manager(product: Product, public: httpx2.Client, shop: str) -> dict[str, str]:
    """The header of a key of that project, in which something of every kind is recorded."""
    headers = {"X-API-Key": make_key(product, shop, "ingest", "read", "manage")}

    def post(path: str, body: object) -> Any:  # noqa: ANN401 - JSON
        return public.post(path, json=body, headers=headers).raise_for_status().json()

    for _ in range(3):
        post("/Log/auth", {"userKey": XSS, "deviceType": "iOS"})
    for status in (200, 500):
        request = {"url_path": f"/{XSS}", "method": "GET", "response_status_code": status, "response_time_ms": 5}
        post("/api/v1/track", request)
    person = {"email": "a@example.com", "username": "a", "first_name": "A", "last_name": "B", "phone": "0301234567"}
    post("/api/event", {"type": XSS, "user_id": post("/api/user", person)["id"], "data": {}})
    post("/api/v1/devices/", {"device_id": DEVICE, "name": "words of the owner"})
    post(f"/api/v1/stats/devices/{quote(DEVICE, safe='')}", {"x": 0.5, "y": 1, "z": 2})
    return headers


def share(public: httpx2.Client, shop: str, manager: dict[str, str], view: View, **fields: object) -> dict[str, Any]:
    body = {"view": view, **({"device_id": DEVICE} if view is View.DEVICE else {}), **fields}
    made: dict[str, Any] = (
        public.post(f"/api/v1/projects/{shop}/shares", json=body, headers=manager).raise_for_status().json()
    )
    return made


def asked_of_the_api(requests: list[Request]) -> list[Request]:
    return [each for each in requests if not urlsplit(each.url).path.startswith(("/shared/", "/dashboard/static/"))]


@pytest.mark.parametrize("view", View)
def test_it_shows_one_view_and_asks_for_nothing_else(
    visitor: Visitor, public: httpx2.Client, shop: str, manager: dict[str, str], axe: str, view: View
) -> None:
    made = share(public, shop, manager, view)
    page, requests, dialogs = visitor.page, list[Request](), list[str]()

    def on_request(request: Request) -> None:
        requests.append(request)

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("request", on_request)
    page.on("dialog", on_dialog)
    answer = page.goto(made["path"])
    assert answer is not None
    assert answer.status == 200
    visitor.expect_live()
    place, text = FIGURE[view]
    expect(page.locator(place)).to_contain_text(text)
    expect(page.get_by_role("heading", level=1)).to_contain_text(XSS)
    expect(page.get_by_label("Time zone")).to_have_value("Pacific/Auckland")
    # Neither a way to another screen, nor a session, nor the name of the device.
    assert page.get_by_role("button", name="Log out").count() == 0
    assert set(page.get_by_role("link").all_inner_texts()) == {"Skip to the content", "CSV"}
    expect(page.get_by_text("words of the owner")).to_have_count(0)
    shown = public.get("/api/v1/shared", headers={"X-API-Key": made["token"]}).json()["figures"]
    own = {path.replace("{device_id}", quote(DEVICE, safe="")).replace("{type}", quote(XSS, safe="")) for path in shown}
    sent = asked_of_the_api(requests)
    assert {quote(urlsplit(each.url).path, safe="/%") for each in sent} <= {quote(each, safe="/%") for each in own}
    assert len({urlsplit(each.url).path for each in sent}) >= len(FIGURES[view]) - 1
    assert {each.headers.get("x-api-key") for each in sent} == {made["token"]}
    assert page.context.cookies() == []
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        assert visitor.violations(axe) == []
    assert dialogs == []


@pytest.mark.parametrize("view", View)
def test_a_view_without_data_says_so(
    visitor: Visitor, product: Product, public: httpx2.Client, axe: str, view: View
) -> None:
    project = make_project(product)
    manager = {"X-API-Key": make_key(product, project, "ingest", "manage")}
    public.post("/api/v1/devices/", json={"device_id": DEVICE}, headers=manager).raise_for_status()
    visitor.page.goto(share(public, project, manager, view)["path"])
    visitor.expect_live()
    words = {View.DEVICE: "Nothing was measured in the range."}.get(view, "No event yet")
    words = "No request in this range" if view is View.REQUESTS else words
    expect(visitor.page.get_by_text(words)).to_be_visible()
    assert not visitor.page.locator("#curl").is_visible()
    assert visitor.violations(axe) == []


def test_it_begins_with_the_range_of_the_share_and_the_theme_of_the_address(
    visitor: Visitor, public: httpx2.Client, shop: str, manager: dict[str, str]
) -> None:
    page = visitor.page
    for asked, shown in (("7d", "7d"), ("year/2027", "24h")):
        page.goto(f"{share(public, shop, manager, View.REQUESTS, range=asked)['path']}?theme=dark")
        visitor.expect_live()
        expect(page.locator("select[name=range]")).to_have_value(shown)
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.locator("select[name=range]").select_option("today")
    expect(page.locator("select[name=range]")).to_have_value("today")
    assert parse_qs(urlsplit(page.url).query)["theme"] == ["dark"]
    page.goto(f"{urlsplit(page.url).path}?theme=%22%3E%3Cscript%3E")
    expect(page.locator("html")).to_have_attribute("data-theme", "system")


def test_a_csv_is_asked_for_with_the_token(
    visitor: Visitor, public: httpx2.Client, shop: str, manager: dict[str, str]
) -> None:
    page = visitor.page
    page.goto(share(public, shop, manager, View.REQUESTS)["path"])
    visitor.expect_live()
    for link in page.get_by_role("link", name="CSV").all():
        with page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename in {"time-series.csv", "endpoints.csv", "distribution.csv"}
        assert download.value.path().read_text().count("\n") >= 2


def test_a_share_that_ends_while_its_page_is_open_is_closed(
    visitor: Visitor, public: httpx2.Client, shop: str, manager: dict[str, str]
) -> None:
    made = share(public, shop, manager, View.AUTH_EVENTS)
    visitor.page.goto(made["path"])
    visitor.expect_live()
    public.delete(f"/api/v1/projects/{shop}/shares/{made['id']}", headers=manager).raise_for_status()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Nothing is shared here", timeout=POLLED)
    assert XSS not in visitor.page.content()


def test_a_link_that_is_not_valid_says_so_and_nothing_else(
    visitor: Visitor, product: Product, public: httpx2.Client, shop: str, manager: dict[str, str], axe: str
) -> None:
    revoked, expired = (share(public, shop, manager, View.REQUESTS) for _ in range(2))
    public.delete(f"/api/v1/projects/{shop}/shares/{revoked['id']}", headers=manager).raise_for_status()
    past = "UPDATE share SET expires_at = %(past)s WHERE share_id = %(id)s::uuid RETURNING 1"
    rows(product.database, past, {"past": clock.now() - timedelta(seconds=1), "id": expired["id"]})
    tokens = [*MALFORMED, f"ds_share_{secrets.token_urlsafe(16)}", revoked["token"], expired["token"]]
    answers = [public.get(f"/shared/{each}") for each in tokens]
    assert {each.status_code for each in answers} == {404}
    # Nobody learns whether there has been a share.
    assert len({each.content for each in answers}) == 1
    for answer in answers:
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
    visitor.page.goto(f"/shared/{tokens[-1]}")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Nothing is shared here")
    for theme in ("light", "dark"):
        visitor.page.goto(f"/shared/{tokens[-1]}?theme={theme}")
        assert visitor.violations(axe) == []


def test_the_token_is_in_no_header_and_no_log(
    product: Product, public: httpx2.Client, shop: str, manager: dict[str, str]
) -> None:
    made = share(public, shop, manager, View.REQUESTS)
    answer = public.get(made["path"])
    assert made["token"] not in str(answer.headers)
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex"
    assert '<meta name="robots" content="noindex">' in answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert product.public.log is not None
    assert made["token"] not in product.public.log.read_text()


def test_the_token_of_a_share_opens_no_screen(public: httpx2.Client, shop: str, manager: dict[str, str]) -> None:
    token = share(public, shop, manager, View.AUTH_EVENTS)["token"]
    for path in ("/dashboard", "/dashboard/administration", "/dashboard/store"):
        for sent in ({"X-API-Key": token}, {"Cookie": f"statistics_project={token}"}):
            assert "<h1>Log in</h1>" in public.get(path, headers=sent).text
    assert public.get("/dashboard/session/project", headers={"X-API-Key": token}).status_code == 403
    own_page = {"Sec-Fetch-Site": "same-origin"}
    answer = public.post("/dashboard/session", json={"api_key": token}, headers=own_page)
    assert answer.status_code in {401, 422}
    assert "set-cookie" not in answer.headers


class _Embedding(BaseHTTPRequestHandler):
    """Pages of another server: the query is the address that their frame shows."""

    def do_GET(self) -> None:
        address = self.path.partition("?")[2]
        body = (
            f'<!doctype html><title>Status</title><iframe width="900" height="700" src="{address}"></iframe>'.encode()
        )
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def embedding_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Embedding)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def framed(page: Page, host: str, port: int, address: str) -> Frame:
    """The frame with this address on a page of this host."""
    page.goto(f"http://{host}:{port}/?{address}")
    frame = page.frames[1]
    frame.wait_for_load_state()
    return frame


def test_it_is_embedded_by_the_origins_of_the_share_alone(
    context: BrowserContext, public: httpx2.Client, shop: str, manager: dict[str, str], embedding_port: int
) -> None:
    """Clickjacking: another page that lays the share, or a screen, under its own buttons gets an empty frame."""
    allowed = f"http://127.0.0.1:{embedding_port}"
    made = share(public, shop, manager, View.AUTH_EVENTS, frame_ancestors=["https://status.example.com", allowed])
    root = str(public.base_url).rstrip("/")
    page = context.new_page()
    frame = framed(page, "127.0.0.1", embedding_port, f"{root}{made['path']}?theme=dark")
    expect(frame.locator("#state")).to_have_attribute("data-state", "live")
    expect(frame.locator("#figures")).to_contain_text("iOS3")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    expect(frame.locator(".top")).to_be_hidden()
    closed = share(public, shop, manager, View.AUTH_EVENTS)
    for host, address in (
        ("localhost", made["path"]),
        ("127.0.0.1", closed["path"]),
        ("127.0.0.1", "/shared/unknown"),
        ("127.0.0.1", "/dashboard"),
    ):
        frame = framed(page, host, embedding_port, root + address)
        assert frame.url.startswith("chrome-error:"), (host, address, frame.url)


def test_while_the_database_is_away_it_says_so(
    product: Product, public: httpx2.Client, cluster: Cluster, shop: str, manager: dict[str, str]
) -> None:
    made = share(public, shop, manager, View.REQUESTS)
    with cluster.connections_refused(product.database):
        answer = public.get(made["path"])
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert int(answer.headers["retry-after"]) > 0
    assert "<h1>Not now</h1>" in answer.text
    assert answer.headers["x-request-id"] in answer.text
    product.public.wait_ready()
    assert public.get(made["path"]).status_code == 200
