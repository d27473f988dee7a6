"""DASHBOARD_PUBLIC, in an installation without accounts: everybody sees the overview, and nobody can log in."""

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.dashboard.browsing import Visitor
from tests.servers import Product, StartProduct


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    """Without accounts."""
    return start_product(env={"DASHBOARD_PUBLIC": "true"})


def test_everybody_sees_the_default_project_and_no_other(
    visitor: Visitor, product: Product, public: httpx2.Client
) -> None:
    event = {"userKey": "u", "deviceType": "Watch"}
    key = make_key(product, make_project(product))
    for headers in ({}, {"X-API-Key": key}, {"X-API-Key": key}):
        public.post("/Log/auth", json=event, headers=headers).raise_for_status()
    visitor.page.goto("/dashboard")
    visitor.expect_live()
    assert (visitor.figure("Total"), visitor.figure("Watch")) == ("1", "1")
    assert visitor.page.get_by_role("button", name="Log out").count() == 0


def test_a_session_that_is_not_valid_does_not_stand_in_the_way(visitor: Visitor, product: Product) -> None:
    """The page reads nothing with it: it is removed, once, and then the page is everybody's."""
    cookie = {"name": "statistics_project", "value": "a.b.c", "url": product.public_url, "sameSite": "Strict"}
    visitor.page.context.add_cookies([cookie])  # type: ignore[list-item]  # the driver's own type of a cookie
    visitor.page.goto("/dashboard")
    visitor.expect_live()
    assert visitor.page.context.cookies() == []


def test_without_accounts_a_log_in_says_so(public: httpx2.Client) -> None:
    own_page = {"Sec-Fetch-Site": "same-origin"}
    for body in ({"email": "a@example.com", "password": "x"}, {"api_key": "ds_live_x"}):
        refused = public.post("/dashboard/session", json=body, headers=own_page)
        assert (refused.status_code, refused.json()["code"]) == (503, "not-configured")
