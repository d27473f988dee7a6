"""What every screen promises; a new one is tested without a new test."""

import json

import httpx2
import pytest
from playwright.sync_api import Route, expect

from statistics_api.access.sessions import SessionKind
from statistics_api.dashboard.screens import SCREENS, Screen
from tests.accounts.conftest import PHRASE
from tests.dashboard.browsing import Visitor

TROUBLE = {"detail": "The database is away.", "code": "not-recorded"}


@pytest.fixture(params=[each for each in SCREENS if "{" not in each.path], ids=lambda screen: screen.name)
def screen(request: pytest.FixtureRequest) -> Screen:
    found: Screen = request.param
    return found


@pytest.fixture
def opened(visitor: Visitor, screen: Screen, public: httpx2.Client, manager: str, email: str) -> Visitor:
    """Looks at the screen with the session that opens it."""
    if SessionKind.PROJECT in screen.opened_by:
        visitor.enter(public, manager, screen.route)
    else:
        visitor.log_in(email, PHRASE, screen.route)
    return visitor


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(opened: Visitor, axe: str, theme: str) -> None:
    opened.page.get_by_label("Theme").select_option(theme)
    opened.expect_live()
    assert opened.violations(axe) == []


def test_it_says_in_words_that_the_service_is_in_trouble(opened: Visitor, screen: Screen) -> None:
    headers = {"X-Request-ID": "id-of-the-request", "Retry-After": "1"}

    def refuse(route: Route) -> None:
        route.fulfill(status=503, body=json.dumps(TROUBLE), headers=headers)

    page = opened.page
    page.route(lambda url: "/dashboard" not in url, refuse)
    page.goto(screen.route)
    expect(page.get_by_role("alert")).to_contain_text("The database is away. (request id-of-the-request)")
    expect(page.locator("#state-text")).to_have_text("No figures yet")


def test_without_a_session_it_is_the_log_in_for_those_that_open_it(visitor: Visitor, screen: Screen) -> None:
    visitor.page.goto(screen.route)
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Log in")
    forms = {SessionKind.ACCOUNT: "With an account", SessionKind.PROJECT: "With an API key"}
    for kind, name in forms.items():
        assert visitor.page.get_by_role("form", name=name).count() == (kind in screen.opened_by)
