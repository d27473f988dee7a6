"""What a visitor of the dashboard does."""

from typing import Any

import httpx2
from playwright.sync_api import ConsoleMessage, Locator, Page, expect

# An answer other than 2xx is reported by the browser itself, and is no fault of a page.
_OF_THE_NETWORK = "Failed to load resource"
# What a client may send as a name, and a page must not run.
XSS = "\"'><img src=x onerror=alert(1)><script>alert(1)</script>"


class Visitor:
    """Someone who uses a page. `complaints` are the errors of its scripts, and breaches of its security policy."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._on_console)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and _OF_THE_NETWORK not in message.text:
            self.complaints.append(message.text)

    def log_in(self, email: str, password: str, path: str = "/dashboard") -> None:
        """Log in with an account; return when the screen is there."""
        self.page.goto(path)
        self.page.get_by_label("E-mail address").fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()

    def open_project(self, key: str, path: str = "/dashboard") -> None:
        """Log in with an API key; return when the screen is there."""
        self.page.goto(path)
        self.page.get_by_label("API key", exact=True).fill(key)
        self.page.get_by_role("button", name="Open the project").click()
        expect(self.page.get_by_role("button", name="Log out")).to_be_visible()

    def enter(self, public: httpx2.Client, key: str, path: str = "/dashboard") -> None:
        """Open a page with the session of an API key that the browser has already."""
        own_page = {"Sec-Fetch-Site": "same-origin"}
        answer = public.post("/dashboard/session", json={"api_key": key}, headers=own_page)
        name, _, token = answer.headers["set-cookie"].partition(";")[0].partition("=")
        url = str(public.base_url)
        self.page.context.add_cookies([{"name": name, "value": token, "url": url, "sameSite": "Strict"}])
        self.page.goto(path)

    def expect_live(self) -> None:
        """Return when the screen shows figures."""
        expect(self.page.locator("#state")).to_have_attribute("data-state", "live")

    def figure(self, name: str) -> str:
        """The text of one of the big figures."""
        return (
            self.page.locator("#figures > div", has=self.page.get_by_text(name, exact=True)).locator("dd").inner_text()
        )

    def read_back_to(self, chart: str, said: str) -> Locator:
        """Read a chart by keyboard to where events were recorded: its end, or the bucket before if another one has
        begun since. Return what is read aloud.
        """
        self.page.locator(f"{chart} .surface").focus()
        live = self.page.locator(f"{chart} [aria-live=polite]")
        self.page.keyboard.press("End")
        try:
            expect(live).to_contain_text(said, timeout=2_000)
        except AssertionError:
            self.page.keyboard.press("ArrowLeft")
            expect(live).to_contain_text(said)
        return live

    def violations(self, axe: str) -> list[Any]:
        """What axe-core finds wrong with the page."""
        # The page's own policy forbids it to add a script; the debugger may.
        self.page.evaluate(axe)
        found = self.page.evaluate("axe.run().then((results) => results.violations)")
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
