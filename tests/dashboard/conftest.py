"""Both services with accounts, and a real browser."""

import os
import shutil
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE, new_email, register
from tests.dashboard.browsing import Visitor
from tests.servers import Product

CHROMIUM = shutil.which("chromium")
ANSWER_SECONDS_MAX = 20.0
# A step of a page that takes longer has failed.
STEP_MILLISECONDS_MAX = 15_000


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def public(product: Product) -> Iterator[httpx2.Client]:
    """A client that keeps no cookie: a request has a session only where a test says so."""
    with httpx2.Client(base_url=product.public_url, timeout=ANSWER_SECONDS_MAX, trust_env=False) as client:
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium. Not for a module with asynchronous tests: the driver has an event loop of its own."""
    if CHROMIUM is None:
        # .ci/run installs it.
        assert not os.environ.get("CI"), "Chromium is missing"
        pytest.skip("NOT CHECKED: THE PAGES IN A BROWSER, because chromium is not here (apt-get install chromium)")
    with sync_playwright() as driver:
        # As root, Chromium has no sandbox; it loads nothing but our own pages.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser, product: Product) -> Iterator[BrowserContext]:
    """A browser without cookies, in Berlin."""
    context = browser.new_context(
        base_url=product.public_url,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        viewport={"width": 1200, "height": 900},
    )
    context.set_default_timeout(STEP_MILLISECONDS_MAX)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of it."""
    return context.new_page()


@pytest.fixture
def visitor(page: Page) -> Iterator[Visitor]:
    """Uses the page, and fails the test in which a page broke its security policy or threw an error."""
    visitor = Visitor(page)
    yield visitor
    assert visitor.complaints == []


@pytest.fixture(scope="module")
def project(product: Product) -> str:
    """The key of a project that the tests of a module share."""
    return make_project(product)


@pytest.fixture(scope="module")
def key(product: Product, project: str) -> str:
    """An API key of that project that may record and read."""
    return make_key(product, project)


@pytest.fixture(scope="module")
def email(public: httpx2.Client) -> str:
    """The e-mail address of an account with PHRASE as its password."""
    email = new_email()
    register(public, email, PHRASE).raise_for_status()
    return email


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core."""
    return Path(__file__).with_name("vendor").joinpath("axe-core", "axe.min.js").read_text()
