"""Every page by keyboard alone in a window of 320 pixels, which is 1280 at 400 percent: WCAG 2.2, 1.4.10, 2.1.1, 2.4.7.

A new screen is tested without a new test.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from statistics_api.access.sessions import SessionKind
from tests.dashboard.browsing import Visitor
from tests.dashboard.every_page import PAGES, needed_session

WIDTH, HEIGHT = 320, 640
# More than any page has elements that Tab reaches.
STEPS_MAX = 250

# The names by which elements are told apart; a page that is asked anew may replace an element by an equal one.
NAMES = """
    window.nameOf = (it) => [it.tagName, it.id, it.name, it.value, it.getAttribute("href")?.split("?")[0],
        it.getAttribute("aria-label"), it.textContent.trim().slice(0, 60)].filter(Boolean).join(" ");
    window.interactive = () => [...document.querySelectorAll(
        "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])")]
        .filter((it) => it.checkVisibility({ visibilityProperty: true }) && !it.disabled);
"""
EVERY_NAME = "interactive().map(nameOf)"
FOCUSED = """
(() => {
    const it = document.activeElement;
    if (it === null || it === document.body || it === document.documentElement) return null;
    const style = getComputedStyle(it);
    const { left, right, top, bottom } = it.getBoundingClientRect();
    const middle = (from, to, most) => (Math.max(from, 0) + Math.min(to, most)) / 2;
    const above = document.elementFromPoint(middle(left, right, innerWidth), middle(top, bottom, innerHeight));
    return {
        name: nameOf(it),
        ring: it.matches(":focus-visible") && style.outlineStyle !== "none" ? parseFloat(style.outlineWidth) : 0,
        // What scrolls on its own may be larger than the window.
        isVisible: bottom > 0 && top < innerHeight && left >= 0 && right <= innerWidth
            && (bottom < innerHeight + 1 || bottom - top > innerHeight / 2),
        isCovered: above !== null && !it.contains(above) && !above.contains(it) && !it.labels?.length,
        place: [left, right, top, bottom].map(Math.round),
    };
})()
"""
TOO_WIDE = """
    document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
        .filter((it) => it.getBoundingClientRect().right > innerWidth + 1 && !it.closest(".scroll, pre, .surface"))
        .map((it) => it.outerHTML.slice(0, 120))
"""
IN_DIALOG_OR_NOWHERE = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
LOG_IN = "the log-in"
OPEN_DIALOG = "document.querySelector('dialog[open]') !== null"


@pytest.fixture(params=(*PAGES, LOG_IN))
def opened(
    request: pytest.FixtureRequest,
    browsers: Mapping[SessionKind | None, BrowserContext],
    addresses: Mapping[str, str],
) -> Iterator[Visitor]:
    """Looks at one page, with every table of it shown."""
    is_log_in = request.param == LOG_IN
    visitor = Visitor(browsers[None if is_log_in else needed_session(request.param)].new_page())
    visitor.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    visitor.page.goto("/dashboard" if is_log_in else addresses[request.param])
    if not is_log_in:
        visitor.expect_live()
    visitor.page.evaluate(NAMES)
    hidden = visitor.page.get_by_role("button", name="Show as table")
    while (count := hidden.count()) > 0:
        hidden.first.click()
        expect(hidden).to_have_count(count - 1)
    yield visitor
    assert visitor.complaints == []
    visitor.page.close()


def walk(page: Page) -> Iterator[dict[str, Any]]:
    """Press Tab from the top until the page is left; what is focused after each."""
    page.evaluate("interactive()[0].focus()")
    for key in ("Tab", "Shift+Tab"):  # a script's focus has no ring
        page.keyboard.press(key)
    yield page.evaluate(FOCUSED)
    for _ in range(STEPS_MAX):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            return
        yield focused
    pytest.fail(f"Tab leads nowhere after {STEPS_MAX} steps")


def test_tab_reaches_everything_and_shows_where_it_is(opened: Visitor) -> None:
    page = opened.page
    expected = set(page.evaluate(EVERY_NAME))
    steps = list(walk(page))
    assert [each for each in steps if each["ring"] < 2] == []
    assert [each for each in steps if not each["isVisible"] or each["isCovered"]] == []
    # What came or went meanwhile is not asked for.
    missed = expected & set(page.evaluate(EVERY_NAME)) - {each["name"] for each in steps}
    assert missed == set()
    assert page.evaluate("scrollX") == 0
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH


def test_a_dialog_opens_and_closes_by_keyboard_and_gives_the_focus_back(opened: Visitor) -> None:
    page = opened.page
    buttons, opened_dialogs = page.locator("main button:not([type=submit])"), 0
    for at in range(buttons.count()):
        button = buttons.nth(at)
        if not button.is_visible() or not button.is_enabled():
            continue
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_timeout(100)
        if not page.evaluate(OPEN_DIALOG):
            continue
        opened_dialogs += 1
        inside = page.evaluate("document.activeElement.closest('dialog') !== null")
        for _ in range(3):
            page.keyboard.press("Tab")
            focused = page.evaluate(FOCUSED)
            # The browser's own window is part of the round.
            assert focused is None or (focused["isVisible"] and focused["ring"] >= 2), focused
            assert page.evaluate(IN_DIALOG_OR_NOWHERE)
        assert inside, button.inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(button).to_be_focused()
    # Otherwise nothing may have been tried on any page.
    assert opened_dialogs > 0 or "/people" not in page.url
