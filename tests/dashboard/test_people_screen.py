"""The screen of people in a browser: a user is found, exported, and erased once that is typed and confirmed."""

import json
import subprocess
from collections.abc import Callable
from secrets import token_hex
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx2
import pytest
from playwright.sync_api import Page, expect

from contract.access import Scope
from statistics_api.access.sessions import SessionKind
from tests.access.conftest import make_key, make_project
from tests.dashboard.browsing import XSS, Visitor
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

SCREEN = "/dashboard/people"
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
# The page asks every five seconds.
NEXT_POLL = 20_000


@pytest.fixture(scope="module")
def manager(product: Product, project: str) -> str:
    """An API key of the project that may do everything."""
    return make_key(product, project, *Scope)


@pytest.fixture
def add_user(public: httpx2.Client, manager: str) -> Callable[..., tuple[str, str]]:
    """Makes a user of the project with a device and an event; returns id and e-mail address."""

    def add(name: str = "Bob") -> tuple[str, str]:
        headers = {"X-API-Key": manager}
        email = f"Bob.{token_hex(4)}@Example.com"
        user = {"email": email, "username": f"{name} {token_hex(4)}", "first_name": name, "last_name": "B", "phone": 30}
        made = public.post("/api/user", json=user, headers=headers).raise_for_status().json()
        device = {"device_id": f"d/{token_hex(4)}", "name": name, "user_id": made["id"]}
        public.post("/api/v1/devices/", json=device, headers=headers).raise_for_status()
        event = {"type": "purchase", "user_id": made["id"], "data": {"note": name}}
        public.post("/api/event", json=event, headers=headers).raise_for_status()
        return made["id"], email

    return add


@pytest.fixture
def screen(visitor: Visitor, public: httpx2.Client, manager: str) -> Visitor:
    """Looks at the screen."""
    visitor.enter(public, manager, SCREEN)
    visitor.expect_live()
    return visitor


def find(page: Page, text: str) -> None:
    page.get_by_label("E-mail address or id").fill(text)
    page.get_by_role("button", name="Find").press("Enter")


def facts(page: Page, where: str = "#facts") -> dict[str, str]:
    names, texts = (page.locator(f"{where} {each}").all_inner_texts() for each in ("dt", "dd"))
    return dict(zip(names, texts, strict=True))


def test_a_user_is_found_and_the_address_of_the_page_has_the_id_alone(
    screen: Visitor, add_user: Callable[..., tuple[str, str]]
) -> None:
    page = screen.page
    user, email = add_user()
    for asked in (user, f" {email.upper()} "):
        page.goto(SCREEN)
        find(page, asked)
        expect(page.locator("#user-heading")).to_be_focused()
        expect(page.locator("#facts")).to_contain_text(email)
        shown = facts(page)
        assert (shown["Id"], shown["Username"][:4], shown["Device"][:3]) == (user, "Bob ", "Bob")
        assert urlsplit(page.url).query == f"user={user}"
    # The address shows the same again.
    page.reload()
    expect(page.locator("#facts")).to_contain_text(email)


def test_what_is_nobody_is_said_beside_the_field(screen: Visitor) -> None:
    for asked in ("nobody@example.com", str(uuid4()), "..", "@", "a/b", XSS):
        find(screen.page, asked)
        expect(screen.page.locator("#find-failure")).to_contain_text("not found")
        expect(screen.page.get_by_label("E-mail address or id")).to_be_focused()
        screen.page.locator("#find-failure").evaluate("(element) => { element.textContent = ''; }")
    expect(screen.page.locator("#user")).to_be_hidden()


def test_a_user_is_exported(screen: Visitor, add_user: Callable[..., tuple[str, str]]) -> None:
    page = screen.page
    user, email = add_user()
    page.goto(f"{SCREEN}?user={user}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export everything").click()
    assert download.value.suggested_filename == f"user-{user}.json"
    document = json.loads(download.value.path().read_text())
    assert (document["user"]["email"], len(document["devices"])) == (email, 1)
    assert [each["data"] for each in document["events"]["store_events"]] == [{"note": "Bob"}]
    page.route("**/export", lambda route: route.fulfill(status=503, json={"detail": "It is away."}))
    page.get_by_role("button", name="Export everything").click()
    expect(page.locator("#export-failure")).to_contain_text("It is away.")


def test_a_user_is_erased_once_the_address_is_typed(
    screen: Visitor,
    public: httpx2.Client,
    manager: str,
    add_user: Callable[..., tuple[str, str]],
    personal_databases: PersonalDatabases,
) -> None:
    page = screen.page
    user, email = add_user()
    methods: list[str] = []
    page.on("request", lambda request: methods.append(request.method))
    page.goto(f"{SCREEN}?user={user}")
    page.get_by_role("button", name="Erase").click()
    question = page.get_by_role("dialog")
    for wrong in ("", "bob@example.com", user):
        question.get_by_label("E-mail address").fill(wrong)
        question.get_by_role("button", name="Erase the user").click()
        expect(question).to_be_visible()
    assert "DELETE" not in methods
    question.get_by_label("E-mail address").fill(email.lower())
    question.get_by_role("button", name="Erase the user").press("Enter")
    expect(page.locator("#erasure-heading")).to_be_focused()
    expect(page.locator("#erasure-text")).to_contain_text("Finished")
    assert methods.count("DELETE") == 1
    [receipt] = parse_qs(urlsplit(page.url).query)["receipt"]
    shown = facts(page, "#erasure-facts")
    assert (shown["Receipt"], shown["Users erased"]) == (receipt, "1")
    assert shown["Events and measurements deleted"] == "1"
    answer = public.get(f"/api/erasure/{receipt}", headers={"X-API-Key": manager}).json()
    assert (answer["state"], answer["events"]) == ("finished", 1)
    found = personal_databases.rows("SELECT 1 FROM person WHERE person_id = %(id)s", {"id": user})
    assert found == []
    expect(page.locator("#user")).to_be_hidden()
    assert email not in page.content()
    page.go_back()
    expect(page.get_by_role("alert").first).to_contain_text("not found")


def test_a_cancelled_erasure_erases_nobody(
    screen: Visitor, public: httpx2.Client, manager: str, add_user: Callable[..., tuple[str, str]]
) -> None:
    page = screen.page
    user, email = add_user()
    page.goto(f"{SCREEN}?user={user}")
    button = page.get_by_role("button", name="Erase")
    button.click()
    page.get_by_role("dialog").get_by_label("E-mail address").fill(email)
    page.keyboard.press("Escape")
    expect(button).to_be_focused()
    assert public.get(f"/api/v1/users/{user}", headers={"X-API-Key": manager}).status_code == 200


def test_a_refused_erasure_is_said_where_it_was_confirmed_and_may_be_repeated(
    screen: Visitor, add_user: Callable[..., tuple[str, str]]
) -> None:
    page = screen.page
    user, email = add_user()
    page.goto(f"{SCREEN}?user={user}")
    page.get_by_role("button", name="Erase").click()
    question = page.get_by_role("dialog")
    question.get_by_label("E-mail address").fill(email)
    page.route(f"**/api/user/{user}", lambda route: route.fulfill(status=503, json={"detail": "It is away."}))
    question.get_by_role("button", name="Erase the user").click()
    expect(page.locator("#question-failure")).to_contain_text("It is away.")
    page.unroute(f"**/api/user/{user}")
    question.get_by_role("button", name="Erase the user").click()
    expect(page.locator("#erasure-text")).to_contain_text("Finished")


def test_a_running_erasure_is_watched_until_it_is_finished(screen: Visitor) -> None:
    page = screen.page
    receipt, answer = str(uuid4()), {"users": 0, "events": 1200, "requested_at": "2026-11-30T12:00:00Z"}
    states = iter([{"state": "running", "finished_at": None}])
    finished = {"state": "finished", "finished_at": "2026-11-30T12:01:00Z"}
    page.route("**/api/erasure/*", lambda route: route.fulfill(json=answer | next(states, finished)))
    page.get_by_label("Receipt").fill(receipt)
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#erasure-text")).to_contain_text("Running")
    assert facts(page, "#erasure-facts")["Events and measurements deleted"] == "1,200"
    expect(page.locator("#erasure-text")).to_contain_text("Finished", timeout=NEXT_POLL)


def test_an_unknown_receipt_is_said(screen: Visitor) -> None:
    for receipt in (str(UUID(int=0)), "..", XSS):
        screen.page.get_by_label("Receipt").fill(receipt)
        screen.page.get_by_role("button", name="Show").click()
        expect(screen.page.locator("#notice")).to_contain_text("Receipt not found")
        screen.page.goto(SCREEN)
        screen.expect_live()


def test_without_the_private_service_nobody_is_found_and_the_page_says_why(
    screen: Visitor, product: Product, add_user: Callable[..., tuple[str, str]]
) -> None:
    page = screen.page
    _, email = add_user()
    product.private.stop()
    try:
        find(page, email)
        expect(page.locator("#find-failure")).to_contain_text("(request ")
        expect(page.locator("#notice")).to_contain_text("The page tries again by itself.", timeout=NEXT_POLL)
        expect(page.locator("#state-text")).to_contain_text("Stale since")
    finally:
        product.private.start()
        product.private.wait_ready()
    find(page, email)
    expect(page.locator("#facts")).to_contain_text(email, timeout=NEXT_POLL)


def test_names_of_people_run_nothing(screen: Visitor, add_user: Callable[..., tuple[str, str]]) -> None:
    page = screen.page
    user, _ = add_user(XSS)
    page.goto(f"{SCREEN}?user={user}&receipt={XSS}")
    expect(page.locator("#facts")).to_contain_text(XSS)
    page.get_by_role("button", name="Erase").click()
    expect(page.get_by_role("dialog")).to_contain_text(XSS)
    page.get_by_role("button", name="Cancel").click()
    page.goto(f"{SCREEN}?user={XSS}")
    expect(page.locator("#notice")).to_contain_text("User not found")
    assert page.locator("main img").count() == 0


def test_a_key_that_may_not_manage_is_told_so_and_another_one_opens_the_screen(
    visitor: Visitor, public: httpx2.Client, key: str, manager: str
) -> None:
    page = visitor.page
    loads: list[str] = []
    page.on("framenavigated", lambda frame: loads.append(frame.url))
    visitor.enter(public, key, SCREEN)
    expect(page.get_by_text("does not have this scope")).to_be_visible()
    page.wait_for_load_state("networkidle")
    assert len(loads) == 1  # it does not load itself again and again
    visitor.open_project(manager, SCREEN)
    expect(page.get_by_role("heading", level=1)).to_have_text("People")


def test_a_project_without_a_user_shows_a_curl_line_that_works(visitor: Visitor, product: Product) -> None:
    key = make_key(product, make_project(product), *Scope)
    visitor.open_project(key, SCREEN)
    visitor.expect_live()
    expect(visitor.page.locator("#empty")).to_be_visible()
    command = visitor.page.locator("#curl").inner_text()
    assert key not in command
    environment = {"API_KEY": key, "PATH": "/usr/bin:/bin"}
    sent = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, check=True)
    assert b'"username":"bob"' in sent.stdout
    expect(visitor.page.locator("#empty")).to_be_hidden(timeout=NEXT_POLL)


def test_axe_finds_nothing(screen: Visitor, axe: str, add_user: Callable[..., tuple[str, str]]) -> None:
    page = screen.page
    user, email = add_user()
    for theme in ("light", "dark"):
        page.get_by_label("Theme").select_option(theme)
        page.goto(f"{SCREEN}?user={user}")
        expect(page.locator("#facts")).to_contain_text(email)
        assert screen.violations(axe) == []
        page.get_by_role("button", name="Erase").click()
        assert screen.violations(axe) == []
        page.get_by_role("button", name="Cancel").click()


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://attacker.example"}, {}],
    ids=["site", "old", "none"],
)
def test_no_other_page_reads_exports_or_erases_a_user(
    public: httpx2.Client, manager: str, add_user: Callable[..., tuple[str, str]], headers: dict[str, str]
) -> None:
    user, email = add_user()
    cookie = public.post("/dashboard/session", json={"api_key": manager}, headers=OWN_PAGE).headers["set-cookie"]
    assert cookie.startswith(SessionKind.PROJECT.cookie_name(secure=False))
    sent = {"Cookie": cookie.partition(";")[0]}
    answer = public.delete(f"/api/user/{user}", headers=sent | headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "cross-site")
    if headers:
        for path in (f"/api/user/{email}", f"/api/v1/users/{user}", f"/api/user/{user}/export"):
            is_read = public.get(path, headers=sent | headers)
            assert (is_read.status_code, email in is_read.text) == (403, False), path
    # The twin: the page itself may.
    assert public.delete(f"/api/user/{user}", headers=sent | OWN_PAGE).status_code == 200
