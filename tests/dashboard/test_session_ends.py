"""A session that ends while a page is open leads to the log-in, and from there to the same URL."""

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from statistics_api.access.sessions import SessionKind
from tests.accounts.conftest import PHRASE
from tests.accounts.forged import ATTACKS
from tests.dashboard.browsing import Visitor

URL = "/dashboard?range=7d&interval=day&compare=off&zone=UTC"
# A poll of the slowest screen here is due after five seconds.
POLLED = 20_000
COOKIE = SessionKind.PROJECT.cookie_name(secure=False)


def make_the_token_expire(context: BrowserContext, url: str) -> None:
    """Put the same token into the cookie as it is after its end: a browser keeps the cookie."""
    [own] = [each for each in context.cookies() if each["name"] == COOKIE]
    expired = ATTACKS["expired"](own["value"])
    context.add_cookies([{"name": COOKIE, "value": expired, "url": url, "httpOnly": True, "sameSite": "Strict"}])


def expect_log_in(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in", timeout=POLLED)


@pytest.mark.parametrize("url", [URL, "/dashboard/requests?range=today"])
def test_an_open_page_leads_to_the_log_in_and_back(
    visitor: Visitor, context: BrowserContext, public: httpx2.Client, key: str, url: str
) -> None:
    page = visitor.page
    visitor.open_project(key, url)
    visitor.expect_live()
    whole = page.url
    make_the_token_expire(context, str(public.base_url))
    expect_log_in(page)
    assert page.url == whole
    page.get_by_label("API key", exact=True).fill(key)
    page.get_by_role("button", name="Open the project").click()
    visitor.expect_live()
    assert page.url == whole


def test_a_log_out_reaches_every_page_of_the_browser(visitor: Visitor, context: BrowserContext, key: str) -> None:
    visitor.open_project(key, URL)
    other = context.new_page()
    other.goto("/dashboard")
    expect(other.locator("#state")).to_have_attribute("data-state", "live")
    other.get_by_role("button", name="Log out").click()
    expect_log_in(other)
    expect_log_in(visitor.page)
    assert context.cookies() == []


def test_an_account_that_is_logged_out_comes_back_to_its_screen(visitor: Visitor, email: str) -> None:
    url = "/dashboard/administration"
    visitor.log_in(email, PHRASE, url)
    visitor.expect_live()
    visitor.page.get_by_role("button", name="Log out").click()
    expect_log_in(visitor.page)
    assert visitor.page.url.endswith(url)
