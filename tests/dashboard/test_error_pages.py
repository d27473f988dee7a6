"""An error of a page is a page where a browser asks for one, and JSON for everybody else."""

import httpx2
import pytest
from playwright.sync_api import expect

from tests.dashboard.broken_service import PATH, TEMPLATE
from tests.dashboard.browsing import Visitor
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, Programs, StartProduct

# As Chromium and Firefox ask for a page, and as their scripts ask for data.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
RETRIED_MILLISECONDS = 15_000
OTHERS: tuple[dict[str, str], ...] = ({}, {"Accept": "*/*"}, {"Accept": "application/json, text/html;q=0.9"})


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    programs = Programs(public="tests.dashboard.broken_service")
    return start_product(env=personal_databases.environment | {"RATE_LIMIT": "600/minute"}, programs=programs)


def expect_error_page(visitor: Visitor, axe: str, path: str, status: int, title: str) -> str:
    """Look at the page in both themes; return its text."""
    page = visitor.page
    for theme in ("light", "dark"):
        answer = page.goto(f"{path}?theme={theme}")
        assert answer is not None
        assert (answer.status, answer.headers["cache-control"]) == (status, "no-store")
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.locator("code")).to_have_text(answer.headers["x-request-id"])
        assert visitor.violations(axe) == []
    return page.content()


def test_an_unknown_page_is_said_on_a_page(visitor: Visitor, axe: str) -> None:
    answer = visitor.page.goto("/dashboard/nothing")
    assert answer is not None
    assert answer.status == 404
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Not Found")
    expect(visitor.page.locator("code")).to_have_text(answer.headers["x-request-id"])
    for theme in ("light", "dark"):
        visitor.page.goto(f"/dashboard/nothing?theme={theme}")
        assert visitor.violations(axe) == []
    visitor.page.get_by_role("link", name="To the dashboard").click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_a_mistake_of_the_server_is_said_without_its_trace(
    visitor: Visitor, public: httpx2.Client, product: Product, axe: str
) -> None:
    text = expect_error_page(visitor, axe, PATH, 500, "Internal Server Error")
    assert "The server has made a mistake." in text
    for of_the_log in ("Traceback", "TemplateNotFound", TEMPLATE, ".py", product.service_token):
        assert of_the_log not in text
    assert product.public.log is not None
    assert TEMPLATE in product.public.log.read_text()
    answer = public.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")


def test_while_an_answer_is_not_possible_a_page_says_so_and_gives_way_to_it(
    visitor: Visitor, public: httpx2.Client, product: Product, cluster: Cluster, axe: str, key: str
) -> None:
    path = "/dashboard/session/project"
    visitor.enter(public, key)
    visitor.page.clock.install()
    with cluster.connections_refused(product.database):
        text = expect_error_page(visitor, axe, path, 503, "Service Unavailable")
        assert "The server cannot answer at the moment." in text
        for of_the_log in ("Traceback", "psycopg2", product.service_token, key, "test_reader"):
            assert of_the_log not in text
        visitor.page.clock.run_for(RETRIED_MILLISECONDS)
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Service Unavailable")
    product.public.wait_ready()
    visitor.page.clock.run_for(RETRIED_MILLISECONDS)
    expect(visitor.page.locator("body")).to_contain_text('"project_key"')


@pytest.mark.parametrize("path", ["/dashboard/nothing", "/dashboard/static/x/%3Cscript%3E.js", "/dashboard/a/b/"])
def test_others_get_json_of_the_same_status(public: httpx2.Client, path: str) -> None:
    page = public.get(path, headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert (page.headers["cache-control"], page.headers["x-frame-options"]) == ("no-store", "DENY")
    assert "Accept" in page.headers["vary"]
    assert "<script>" not in page.text
    for headers in OTHERS:
        assert public.get(path, headers=headers).headers["content-type"] == "application/problem+json"
    head = public.head(path, headers=BROWSER)
    assert (head.status_code, head.content) == (404, b"")


def test_an_error_elsewhere_is_json_for_a_browser_too(public: httpx2.Client) -> None:
    for path in ("/nothing", "/api/v1/nothing", "/dashboards", "/Log/auth/nothing"):
        answer = public.get(path, headers=BROWSER)
        assert answer.status_code == 404
        assert "json" in answer.headers["content-type"]
    assert public.post("/dashboard/session", json={}, headers=BROWSER).status_code == 403


def test_a_browser_beyond_its_limit_is_told_when_to_come_back(public: httpx2.Client) -> None:
    for _ in range(700):
        answer = public.get("/dashboard/session", headers=BROWSER)
        if answer.status_code == 429:
            break
    for path, is_linked in (("/dashboard", True), ("/shared/x", False)):
        answer = public.get(path, headers=BROWSER)
        assert (answer.status_code, answer.headers["content-type"]) == (429, "text/html; charset=utf-8")
        assert int(answer.headers["retry-after"]) > 0
        assert "<h1>Too Many Requests</h1>" in answer.text
        assert ("To the dashboard" in answer.text) is is_linked
