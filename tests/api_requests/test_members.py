"""Figures for people: an account reads those of the projects that it is a member of."""

import base64
import json

import httpx2
import pytest

from tests.access.conftest import make_key, make_project
from tests.accounts.conftest import bearer, login, new_email, register
from tests.api_requests.conftest import TRACK
from tests.api_requests.payloads import request
from tests.database import rows
from tests.servers import Product

METRICS = ["", "summary", "endpoints", "distribution", "time-series"]


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def token(public: httpx2.Client) -> str:
    """A token of an account that is a member of no project yet."""
    email = new_email()
    assert register(public, email).status_code == 201
    token: str = login(public, email).json()["access_token"]
    return token


def join(product: Product, project: str, token: str) -> None:
    payload = token.split(".")[1]
    account = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    rows(
        product.database,
        "INSERT INTO project_member SELECT project_id, %(account)s, 'member', now() FROM project "
        " WHERE project_key = %(project)s",
        {"account": account, "project": project},
    )


def test_a_member_reads_the_figures_of_the_own_project_alone(
    product: Product, public: httpx2.Client, token: str
) -> None:
    own, other = make_project(product), make_project(product)
    join(product, own, token)
    for project in (own, other):
        headers = {"X-API-Key": make_key(product, project)}
        assert public.post(TRACK, json=request(), headers=headers).status_code == 201
    unknown = public.get("/api/v1/projects/nothing-here/metrics/summary", headers=bearer(token))
    for metric in METRICS:
        assert public.get(f"/api/v1/projects/{own}/metrics/{metric}", headers=bearer(token)).status_code == 200
        refused = public.get(f"/api/v1/projects/{other}/metrics/{metric}", headers=bearer(token))
        assert (refused.status_code, refused.json()) == (404, unknown.json())
    summary = public.get(f"/api/v1/projects/{own}/metrics/summary", headers=bearer(token)).json()
    assert summary["request_count"] == 1


def test_an_account_records_nothing(public: httpx2.Client, token: str) -> None:
    for path, body in ((TRACK, request()), (f"{TRACK}/batch", [request()])):
        answer = public.post(path, json=body, headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (403, "needs-project-credential")


def test_a_token_that_is_not_valid_reads_nothing(product: Product, public: httpx2.Client, token: str) -> None:
    project = make_project(product)
    head, payload, signature = token.split(".")
    for wrong in (f"{head}.{payload}.{signature[::-1]}", "a.b.c", f"{head}..{signature}"):
        answer = public.get(f"/api/v1/projects/{project}/metrics/summary", headers=bearer(wrong))
        assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")
    both = bearer(token) | {"X-API-Key": make_key(product, project)}
    assert public.get(f"/api/v1/projects/{project}/metrics/summary", headers=both).status_code == 401
