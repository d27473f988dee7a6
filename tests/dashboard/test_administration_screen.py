"""The screen of administration in a browser: each change is confirmed in words, and a new key is shown once."""

import re
import subprocess
from typing import Any

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Dialog, Page, expect

from statistics_api.access.sessions import SessionKind
from tests.accounts.conftest import PHRASE, bearer, login, new_email, register
from tests.accounts.forged import claims_of
from tests.dashboard.browsing import XSS, Visitor
from tests.database import rows
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

PATH = "/dashboard/administration"
PROJECTS = "/api/v1/projects/"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
OPERATOR = "UPDATE account SET is_operator = true WHERE account_id = %(id)s RETURNING account_id"
RAN = """
    INSERT INTO maintenance.command_run (command, ended_at, findings) VALUES ('{command}', {ended}, {findings})
    RETURNING command
"""
# A poll is due after 5 seconds.
POLLED = 20_000
KEY = re.compile(r"ds_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")


@pytest.fixture(scope="module")
def token(public: httpx2.Client, email: str) -> str:
    """A token of the account."""
    return str(login(public, email).json()["access_token"])


@pytest.fixture
def shop(public: httpx2.Client, token: str, request: pytest.FixtureRequest) -> str:
    """The key of a new project of the account, with one API key."""
    name = f"Shop {request.node.name}"
    project = public.post(PROJECTS, json={"name": name}, headers=bearer(token)).raise_for_status().json()
    path = f"{PROJECTS}{project['project_key']}/api-keys/"
    public.post(path, json={"name": "till 4", "scopes": ["ingest"]}, headers=bearer(token)).raise_for_status()
    return str(project["project_key"])


def enter(visitor: Visitor, public: httpx2.Client, token: str, path: str) -> None:
    cookie = {
        "name": SessionKind.ACCOUNT.cookie_name(secure=False),
        "value": token,
        "url": str(public.base_url),
        "sameSite": "Strict",
    }
    visitor.page.context.add_cookies([cookie])  # type: ignore[list-item]  # the driver's own type of a cookie
    visitor.page.goto(path)
    visitor.expect_live()


@pytest.fixture
def administration(visitor: Visitor, public: httpx2.Client, token: str, shop: str) -> Visitor:
    """Looks at the project."""
    enter(visitor, public, token, f"{PATH}?project={shop}")
    return visitor


def row(page: Page, name: str, table: str = "#keys") -> dict[str, str]:
    names = page.locator(f"{table} thead th").all_inner_texts()
    found = page.locator(f"{table} tbody tr", has_text=name).first.locator("th, td").all_inner_texts()
    return dict(zip(names, found, strict=True))


def confirm(page: Page, said: str, yes: str) -> None:
    """Confirm what the page asks, which contains these words."""
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(said)
    question.get_by_role("button", name=yes).click()
    expect(question).to_be_hidden()


def keys_of(public: httpx2.Client, token: str, project: str) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = public.get(f"{PROJECTS}{project}/api-keys/", headers=bearer(token)).json()
    return listed


def test_a_key_is_made_confirmed_and_shown_once(administration: Visitor, public: httpx2.Client) -> None:
    page = administration.page
    assert row(page, "till 4") | {"Key": "", "Created": "", "Expires": ""} == {
        "Key": "", "Name": "till 4", "Scopes": "ingest", "State": "active", "Created": "", "Expires": "",
        "Last used": "never", "Requests": "0", "Rate limit": "none", "Actions": "RotateLimitRevoke",
    }  # fmt: skip
    form = page.get_by_role("form", name="Make an API key")
    form.get_by_label("Name").fill("board")
    form.get_by_label("record (ingest)").uncheck()
    form.get_by_label("Rate limit").fill("7/minute")
    form.get_by_label("It expires").select_option("never")
    form.get_by_role("button", name="Make a key").press("Enter")
    confirm(page, "“board” may read in the project", "Make the key")
    expect(page.locator("#secret")).to_be_focused()
    [key] = KEY.findall(page.locator("#secret-key").inner_text())
    assert public.get("/Log/auth/statistics", headers={"X-API-Key": key}).status_code == 200
    assert public.post("/Log/auth", json={}, headers={"X-API-Key": key}).status_code == 403
    expect(page.locator("#keys tbody tr")).to_have_count(2)
    shown = row(page, "board")
    assert (shown["Scopes"], shown["Expires"], shown["Rate limit"]) == ("read", "never", "7/minute")
    page.get_by_role("button", name="I have kept it").click()
    assert not KEY.search(page.content())
    page.reload()
    administration.expect_live()
    assert not KEY.search(page.content())


def test_a_cancelled_change_changes_nothing(
    administration: Visitor, public: httpx2.Client, token: str, shop: str
) -> None:
    page = administration.page
    before = keys_of(public, token, shop)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    for name in ("Rotate till 4", "Limit till 4", "Revoke till 4"):
        button = page.get_by_role("button", name=name)
        button.click()
        page.get_by_role("button", name="Cancel").click()
        expect(button).to_be_focused()
        button.click()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
    assert set(sent) <= {"GET"}
    assert keys_of(public, token, shop) == before


def test_a_key_is_rotated_with_an_overlap(
    administration: Visitor, public: httpx2.Client, token: str, shop: str
) -> None:
    page = administration.page
    page.get_by_role("button", name="Rotate till 4").click()
    page.get_by_label("The old key").select_option("stays valid for 1 hour")
    confirm(page, "gets a successor with the same scopes", "Replace the key")
    expect(page.locator("#secret-key")).to_have_text(KEY)
    expect(page.locator("#keys tbody tr")).to_have_count(2)
    expect(page.locator("#keys tbody tr").first).to_contain_text("replaced, ends in 60 min")
    old, new = keys_of(public, token, shop)
    assert (old["replaced_by"], old["is_active"], new["name"]) == (new["id"], True, "till 4")
    assert page.locator("#keys tbody tr").first.get_by_role("button").all_inner_texts() == ["Limit", "Revoke"]


def test_a_key_is_limited_and_revoked(administration: Visitor, public: httpx2.Client, token: str, shop: str) -> None:
    page = administration.page
    page.get_by_role("button", name="Limit till 4").click()
    page.get_by_role("dialog").get_by_label("Such as 600/minute").fill("5/second")
    confirm(page, "are refused with 429", "Change the limit")
    expect(page.locator("#keys tbody tr")).to_contain_text("5/second")
    page.get_by_role("button", name="Revoke till 4").click()
    confirm(page, "are refused at once", "Revoke the key")
    expect(page.locator("#keys tbody tr")).to_contain_text("revoked")
    assert row(page, "till 4")["Actions"] == ""
    assert [each["is_active"] for each in keys_of(public, token, shop)] == [False]


def test_a_refused_change_is_said_where_it_was_confirmed(
    administration: Visitor, public: httpx2.Client, token: str, shop: str
) -> None:
    page = administration.page
    page.get_by_role("button", name="Rotate till 4").click()
    [key] = keys_of(public, token, shop)
    public.patch(f"{PROJECTS}{shop}/api-keys/{key['id']}", json={"is_active": False}, headers=bearer(token))
    page.get_by_role("button", name="Replace the key").click()
    expect(page.locator("#question-failure")).to_contain_text("(request ")
    expect(page.get_by_role("button", name="Replace the key")).to_be_enabled()
    page.get_by_role("button", name="Cancel").click()


def test_the_retention_is_changed(administration: Visitor, public: httpx2.Client, token: str, shop: str) -> None:
    page = administration.page
    expect(page.locator("#retention caption")).to_have_text("No run yet")
    form = page.get_by_role("form", name="Change the retention")
    form.get_by_label("Days").fill("30")
    form.get_by_role("button").click()
    confirm(page, "older than 30 days. They cannot be restored", "Change it")
    expect(page.locator("#retention-text")).to_contain_text("keeps raw rows for 30 days")
    form.get_by_label("Days").fill("")
    form.get_by_role("button").click()
    confirm(page, "as the installation keeps them", "Change it")
    expect(page.locator("#retention-text")).to_contain_text("no retention of its own")
    assert public.get(f"{PROJECTS}{shop}", headers=bearer(token)).json()["retention_days"] is None


def test_a_member_is_added_sees_and_is_removed(
    administration: Visitor, public: httpx2.Client, shop: str, context: BrowserContext
) -> None:
    page = administration.page
    other = new_email()
    register(public, other).raise_for_status()
    page.get_by_label("E-mail address of an account").fill(other)
    page.get_by_role("button", name="Add a member").click()
    confirm(page, f"The account of {other} sees the project", "Add the member")
    members = page.locator("#members tbody tr")
    expect(members).to_have_count(2)
    assert other.lower() not in page.locator("main").inner_text().lower()
    # A member sees the keys and may change nothing.
    context.clear_cookies()
    enter(administration, public, str(login(public, other).json()["access_token"]), f"{PATH}?project={shop}")
    expect(page.locator("#keys tbody tr")).to_have_count(1)
    expect(page.locator("#project-text")).to_contain_text("You are a member")
    assert page.locator("#project button:visible, #project form:visible").count() == 0


def test_the_last_owner_stays(administration: Visitor) -> None:
    page = administration.page
    page.get_by_role("button", name="Remove ").click()
    page.get_by_role("button", name="Remove the member").click()
    expect(page.locator("#question-failure")).to_contain_text("owner")


def test_without_a_project_curl_lines_that_work_are_shown(visitor: Visitor, public: httpx2.Client) -> None:
    email = new_email()
    register(public, email).raise_for_status()
    enter(visitor, public, str(login(public, email).json()["access_token"]), PATH)
    expect(visitor.page.locator("#project")).to_be_hidden()
    lines = visitor.page.locator("#curl").inner_text()
    environment = {"EMAIL": email, "PASSWORD": PHRASE, "PATH": "/usr/bin:/bin"}
    subprocess.run(["bash", "-ec", lines], env=environment, check=True)
    expect(visitor.page.locator("#projects")).to_contain_text("Shop", timeout=POLLED)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(administration: Visitor, axe: str, theme: str) -> None:
    page = administration.page
    page.get_by_label("Theme").select_option(theme)
    assert administration.violations(axe) == []
    page.get_by_role("button", name="Rotate till 4").click()
    assert administration.violations(axe) == []
    confirm(page, "gets a successor", "Replace the key")
    expect(page.locator("#secret")).to_be_visible()
    assert administration.violations(axe) == []


def test_everything_is_reached_by_keyboard(administration: Visitor) -> None:
    page = administration.page
    page.locator("#projects").focus()
    reached = []
    for _ in range(24):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(({activeElement: it}) => it.getAttribute('aria-label') ?? it.name ?? it.textContent)(document)"
            )
        )
    names = " | ".join(map(str, reached))
    for name in ("Rotate till 4", "Limit", "Revoke", "scopes", "life", "rate_limit", "days", "Remove", "email", "role"):
        assert name in names, (name, names)
    # A question keeps the keyboard until it is answered.
    page.get_by_role("button", name="Rotate till 4").press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#secret")).to_be_focused()


def test_a_poll_leaves_the_focus_where_it_is(administration: Visitor) -> None:
    button = administration.page.get_by_role("button", name="Revoke till 4")
    button.focus()
    for _ in range(2):
        with administration.page.expect_response("**/members"):
            pass
    expect(button).to_be_focused()


def test_names_of_others_run_nothing(visitor: Visitor, public: httpx2.Client, token: str, page: Page) -> None:
    shown: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        shown.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", on_dialog)
    project = public.post(PROJECTS, json={"name": XSS}, headers=bearer(token)).raise_for_status().json()["project_key"]
    path = f"{PROJECTS}{project}/api-keys/"
    public.post(path, json={"name": XSS}, headers=bearer(token)).raise_for_status()
    enter(visitor, public, token, f"{PATH}?project={project}")
    expect(page.locator("#keys")).to_contain_text(XSS)
    page.get_by_role("button", name="Rotate").click()
    confirm(page, XSS, "Replace the key")
    expect(page.locator("#secret-text")).to_contain_text(XSS)
    assert page.locator("main img").count() == 0
    assert shown == []


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://attacker.example"}, {}],
    ids=["site", "old", "none"],
)
def test_what_the_page_does_is_refused_from_elsewhere(
    public: httpx2.Client, token: str, shop: str, headers: dict[str, str]
) -> None:
    [key] = keys_of(public, token, shop)
    cookie = {"Cookie": f"{SessionKind.ACCOUNT.cookie_name(secure=False)}={token}"}
    project = f"{PROJECTS}{shop}"
    calls: list[tuple[str, str, dict[str, object] | None]] = [
        ("POST", f"{project}/api-keys", {"name": "stolen"}),
        ("POST", f"{project}/api-keys/{key['id']}/rotate", {"overlap_seconds": 0}),
        ("PATCH", f"{project}/api-keys/{key['id']}", {"is_active": False}),
        ("PATCH", project, {"retention_days": 1}),
        ("POST", f"{project}/members", {"email": "attacker@example.com"}),
    ]
    for method, path, body in calls:
        answer = public.request(method, path, json=body, headers=cookie | headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "cross-site"), path
    assert keys_of(public, token, shop) == [key]
    # The twin: the page itself may.
    answer = public.post(f"{project}/api-keys", json={"name": "own"}, headers=cookie | OWN_PAGE)
    assert answer.status_code == 201


def test_a_view_is_shared_by_a_link_that_is_shown_once_and_ends(
    administration: Visitor, public: httpx2.Client, axe: str
) -> None:
    page = administration.page
    form = page.get_by_role("form", name="Share a view")
    form.get_by_label("View").select_option("One device")
    form.get_by_label("Device id").fill(XSS)
    form.get_by_label("First range").select_option("7d")
    form.get_by_label("It ends").select_option("when you end it")
    form.get_by_label("Origins").fill("https://a.example  https://b.example:8443 ")
    form.get_by_role("button", name="Make a link").press("Enter")
    confirm(page, "The pages of https://a.example, https://b.example:8443 may embed it.", "Make the link")
    expect(page.locator("#link")).to_be_focused()
    expect(form.get_by_label("Device id")).to_be_hidden()
    address = page.locator("#link-address").inner_text()
    assert public.get(address).status_code == 200
    expect(page.locator("#shares tbody tr")).to_have_count(1)
    assert row(page, "Device", "#shares") | {"Created": ""} == {
        "Shows": f"Device {XSS}", "First range": "last 7 days", "May be embedded by": "https://a.example https://b.example:8443",
        "Created": "", "Ends": "never", "Actions": "End",
    }  # fmt: skip
    assert administration.violations(axe) == []
    page.get_by_role("button", name="I have kept it").click()
    assert "ds_share_" not in page.content()
    page.locator("#shares").get_by_role("button", name="End the share").click()
    confirm(page, "shows nothing any more", "End the share")
    expect(page.locator("#shares tbody tr")).to_have_count(0)
    expect(page.locator("#shares caption")).to_have_text("Nothing is shared")
    assert public.get(address).status_code == 404


def test_a_share_that_the_server_refuses_is_said_where_it_was_confirmed(administration: Visitor) -> None:
    page = administration.page
    form = page.get_by_role("form", name="Share a view")
    form.get_by_label("Origins").fill("*")
    form.get_by_role("button", name="Make a link").click()
    question = page.get_by_role("dialog")
    question.get_by_role("button", name="Make the link").click()
    expect(question.get_by_role("alert")).to_contain_text("frame_ancestors")
    question.get_by_role("button", name="Cancel").click()
    expect(page.locator("#shares tbody tr")).to_have_count(0)


def rows_of(page: Page) -> list[list[str]]:
    return [each.locator("th, td").all_inner_texts() for each in page.locator("#service tbody tr").all()][2:]


def test_only_an_operator_sees_the_installation(
    administration: Visitor,
    public: httpx2.Client,
    product: Product,
    personal_databases: PersonalDatabases,
    context: BrowserContext,
    axe: str,
) -> None:
    page = administration.page
    assert page.locator("#service").count() == 0
    register(public, email := new_email()).raise_for_status()
    operator = str(login(public, email).json()["access_token"])
    assert personal_databases.rows(OPERATOR, {"id": claims_of(operator)["sub"]})
    context.clear_cookies()
    enter(administration, public, operator, PATH)
    expect(page.locator("#service-text")).to_contain_text("statistics-api")
    expect(page.locator("#service-text")).to_contain_text(": ready.")
    expect(page.locator("#service")).to_contain_text("device-registration-api")
    shown = {name: (text, is_right) for name, text, is_right in rows_of(page)}
    assert shown["Last maintain"] == ("never", "no")
    assert shown["Drift of the counts"] == ("not known", "")
    assert shown["Open erasures"] == shown["Rows without a partition"] == ("0", "yes")
    assert shown["Age of the key-encryption key"] == ("not known", "")
    assert shown["Versions"][1] == "yes"
    assert administration.violations(axe) == []
    found = {"ended": "now() - interval '4 hours'", "findings": "7"}
    rows(product.database, RAN.format(**found, command="maintain"))
    rows(product.database, RAN.format(**found, command="verify-counts"))
    page.reload()
    expect(page.locator("#service")).to_contain_text("4 h ago")
    shown = {name: (text, is_right) for name, text, is_right in rows_of(page)}
    assert shown["Last maintain"][1] == "no"
    assert shown["Last verify-counts"][1] == "yes"
    assert shown["Drift of the counts"] == ("7", "no")
    page.route("**/api/v1/installation", lambda route: route.fulfill(status=503, json={"detail": "It is away."}))
    page.reload()
    expect(page.locator("#installation-failure")).to_contain_text("It is away.")
    expect(page.locator("#service")).to_contain_text("device-registration-api")
    page.route("**/readyz", lambda route: route.fulfill(status=503, json={"reason": "database: is away"}))
    page.reload()
    expect(page.locator("#service-text")).to_contain_text("Database: is away.")
