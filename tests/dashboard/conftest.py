"""Both services with accounts, and a real browser."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from contract.access import Scope
from contract.shares import View
from statistics_api.access.sessions import SessionKind
from statistics_api.dashboard.screens import SCREENS
from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.accounts.forged import claims_of
from tests.dashboard.browsing import Visitor
from tests.dashboard.every_page import QUERIES, SEEN_MILLISECONDS_MAX, SHARES
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

CHROMIUM = shutil.which("chromium")
ANSWER_SECONDS_MAX = 20.0
OPERATOR = "UPDATE account SET is_operator = true WHERE account_id = %(id)s RETURNING account_id"
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


@pytest.fixture(scope="module")
def operator(public: httpx2.Client, personal_databases: PersonalDatabases) -> str:
    """The e-mail address of an account with PHRASE, which also sees the installation, and a project of its own."""
    register(public, email := new_email()).raise_for_status()
    token = str(login(public, email).json()["access_token"])
    assert personal_databases.rows(OPERATOR, {"id": claims_of(token)["sub"]})
    public.post("/api/v1/projects/", json={"name": "Shop"}, headers=bearer(token)).raise_for_status()
    return email


@pytest.fixture(scope="module")
def manager(product: Product, project: str) -> str:
    """An API key that opens every screen of the project."""
    return make_key(product, project, *Scope)


@pytest.fixture(scope="module")
def addresses(public: httpx2.Client, project: str, manager: str) -> Mapping[str, str]:
    """The address of each page, which shows something that is recorded."""

    def post(path: str, body: object) -> dict[str, str]:
        made: dict[str, str] = public.post(path, json=body, headers={"X-API-Key": manager}).raise_for_status().json()
        return made

    post("/Log/auth", {"userKey": "u", "deviceType": "iOS"})
    post("/api/v1/track", {"url_path": "/", "method": "GET", "response_status_code": 200, "response_time_ms": 5})
    person = {"email": "a@example.com", "username": "a", "first_name": "A", "last_name": "B", "phone": "0301234567"}
    user = post("/api/user", person)["id"]
    post("/api/event", {"type": "visit", "user_id": user, "data": {}})
    post("/api/v1/devices/", {"device_id": "boiler"})
    post("/api/v1/stats/devices/boiler", {"x": 0.5, "y": 1, "z": 2})
    found = {each.name: each.route + QUERIES.get(each.name, "").format(user=user) for each in SCREENS}
    found["device"] = "/dashboard/devices?device=boiler"
    for name, view in SHARES.items():
        draft = {"view": view, "device_id": "boiler" if view is View.DEVICE else None}
        found[name] = post(f"/api/v1/projects/{project}/shares", draft)["path"]
    return found


@pytest.fixture(scope="module")
def browsers(
    browser: Browser, product: Product, public: httpx2.Client, manager: str, operator: str
) -> Iterator[Mapping[SessionKind | None, BrowserContext]]:
    """A browser with the session of the API key, one with that of the account, and one without any."""
    with ExitStack() as undo:
        found: dict[SessionKind | None, BrowserContext] = {}
        for kind in (SessionKind.PROJECT, SessionKind.ACCOUNT, None):
            found[kind] = browser.new_context(base_url=product.public_url)
            found[kind].set_default_timeout(SEEN_MILLISECONDS_MAX)
            undo.callback(found[kind].close)
        visitor = Visitor(found[SessionKind.PROJECT].new_page())
        visitor.enter(public, manager)
        visitor.page.close()
        visitor = Visitor(found[SessionKind.ACCOUNT].new_page())
        visitor.log_in(operator, PHRASE, "/dashboard/administration")
        visitor.page.close()
        yield found
