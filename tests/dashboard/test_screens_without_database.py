"""Every screen while PostgreSQL is really away: a sentence, the last figures kept, and new ones once it is back.

All pages are open together while the server is killed and started once; the tests look at what was seen meanwhile. A
new screen is tested without a new test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import BrowserContext, expect

from local.postgres import Postgres
from statistics_api.access.sessions import SessionKind
from tests.dashboard.browsing import Visitor
from tests.dashboard.every_page import PAGES, SEEN_MILLISECONDS_MAX, needed_session
from tests.servers import Cluster

# A page waits for no longer before it asks again (poll.js). Its clock is put forward by as much: a store would wait for
# 40 s, and all of them together for minutes.
PAUSE_MILLISECONDS_MAX = 60_000
# The state of what the process needs is no figure, and must not be kept.
FIGURES = """
    [...document.querySelectorAll("main :is(dd, td, th, figcaption)")].filter((each) => each.checkVisibility())
        .map((each) => each.textContent).filter((text) => /[0-9]/.test(text) && !text.startsWith("ok, "))
"""
REPEATS_MAX = 20
WORDS_OF_A_READER = "The page tries again by itself."


@dataclass
class Seen:
    """What was seen of two pages with one address: the first was open before, the second is opened meanwhile."""

    statuses: list[int] = field(default_factory=list)
    # When the database has just gone, and when the page knows it.
    figures: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)
    # Once it is back.
    figures_afterwards: list[list[str]] = field(default_factory=list)
    sentences_afterwards: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Postgres:
    """The server, which these tests kill: every product on it is this module's."""
    if not isinstance(cluster.server, Postgres):
        pytest.skip("NOT CHECKED: THE PAGES WITHOUT A DATABASE, because the tests did not start this server")
    return cluster.server


@pytest.fixture(scope="module")
def seen(
    browsers: Mapping[SessionKind | None, BrowserContext], addresses: Mapping[str, str], database: Postgres
) -> Mapping[str, Seen]:
    """What each page showed while the database was killed and started."""
    found = {name: Seen() for name in PAGES}

    def opened(name: str) -> Visitor:
        visitor = Visitor(browsers[needed_session(name)].new_page())
        visitor.complaints = found[name].complaints
        visitor.page.clock.install()
        answer = visitor.page.goto(addresses[name])
        assert answer is not None
        found[name].statuses.append(answer.status)
        return visitor

    visitors = {name: opened(name) for name in PAGES}
    for visitor in visitors.values():
        visitor.expect_live()
    database.kill()
    try:
        for name, visitor in visitors.items():
            found[name].figures = visitor.page.evaluate(FIGURES)
        fresh = {name: opened(name) for name in PAGES}
        for pages in (visitors, fresh):
            for name, visitor in pages.items():
                visitor.page.clock.fast_forward(PAUSE_MILLISECONDS_MAX)
                expect(visitor.page.locator("#notice")).not_to_be_empty(timeout=SEEN_MILLISECONDS_MAX)
                found[name].sentences.append(visitor.page.locator("#notice").inner_text())
                found[name].states.append(visitor.page.locator("#state-text").inner_text())
        for name, visitor in visitors.items():
            found[name].kept = visitor.page.evaluate(FIGURES)
    finally:
        database.start()
    for pages in (visitors, fresh):
        for name, visitor in pages.items():
            expect(visitor.page.locator("#state")).to_have_attribute(
                "data-state", "live", timeout=SEEN_MILLISECONDS_MAX
            )
            found[name].sentences_afterwards.append(visitor.page.locator("#notice").inner_text())
            found[name].figures_afterwards.append(visitor.page.evaluate(FIGURES))
            visitor.page.close()
    return found


@pytest.fixture(params=PAGES)
def page_seen(request: pytest.FixtureRequest, seen: Mapping[str, Seen]) -> Seen:
    return seen[request.param]


def test_an_open_page_keeps_its_figures_and_says_why_they_are_old(page_seen: Seen) -> None:
    assert page_seen.figures
    assert page_seen.kept == page_seen.figures
    assert page_seen.states[0].startswith("Stale since ")
    assert page_seen.sentences[0].endswith(WORDS_OF_A_READER)


def test_a_page_that_is_opened_meanwhile_says_why_it_has_no_figures(page_seen: Seen) -> None:
    assert page_seen.statuses == [200, 200]
    assert page_seen.states[1] == "No figures yet"
    assert page_seen.sentences[1].endswith(WORDS_OF_A_READER)


def test_both_have_figures_again_by_themselves(page_seen: Seen) -> None:
    assert page_seen.sentences_afterwards == ["", ""]
    assert all(page_seen.figures_afterwards)


def test_no_script_of_a_page_fails(page_seen: Seen) -> None:
    assert page_seen.complaints == []


def test_a_log_in_says_why_it_fails_and_works_later(
    browsers: Mapping[SessionKind | None, BrowserContext], database: Postgres, manager: str
) -> None:
    visitor = Visitor(browsers[None].new_page())
    page = visitor.page
    database.kill()
    try:
        page.goto("/dashboard")
        page.get_by_label("API key", exact=True).fill(manager)
        page.get_by_role("button", name="Open the project").click()
        expect(page.get_by_role("alert")).to_contain_text("(request ")
        said = page.get_by_role("alert").inner_text()
    finally:
        database.start()
    assert said.startswith("The database cannot be reached. (request ")
    for _ in range(REPEATS_MAX):
        page.get_by_role("button", name="Open the project").click()
        expect(page.locator("#state, #notice:not(:empty)").first).to_be_visible()
        if page.locator("#state").count():
            break
    visitor.expect_live()
    assert visitor.complaints == []
