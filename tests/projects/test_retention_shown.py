"""The members of a project see what its retention did, and nobody else does."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.database import rows
from tests.projects.conftest import Account, created, refused
from tests.servers import finished_command

if TYPE_CHECKING:
    import httpx2

    from tests.servers import Product

AGE = "UPDATE auth_event SET received_at = received_at - interval '4 days' WHERE user_key = %(user)s"


def maintain(product: Product) -> None:
    finished = finished_command(product.database.writer_env, "maintain")
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
def test_members_see_what_the_last_run_did(
    product: Product, public: httpx2.Client, owner: Account, member: Account, slash: str
) -> None:
    project = owner.project(f"Kept {slash}", retention_days=3)
    path = f"/{project['project_key']}/retention{slash}"
    user = project["project_key"]
    sent = {"X-API-Key": owner.key(project)["key"]}
    for each in (user, f"{user}-old"):
        public.post("/Log/auth", json={"userKey": each, "deviceType": "TV"}, headers=sent).raise_for_status()
    rows(product.database, AGE, {"user": f"{user}-old"})
    assert owner.ask("GET", path).json() == []

    maintain(product)

    [noted] = owner.ask("GET", path).json()
    [(received_at,)] = rows(
        product.database, "SELECT received_at FROM auth_event WHERE user_key = %(user)s", {"user": user}
    )
    assert datetime.fromisoformat(noted.pop("oldest_received_at")) == received_at
    assert datetime.fromisoformat(noted.pop("ran_at")) > received_at
    assert noted == {"kind": "auth_event", "retention_days": 3, "deleted_rows": 1, "kept_rows": 1}
    assert refused(member.ask("GET", path), 404) == "Project not found"
    created(owner.ask("POST", f"/{user}/members", {"email": member.email}))
    assert member.ask("GET", path).json() == owner.ask("GET", path).json()


def test_each_kind_has_a_row_and_a_project_without_rows_has_none(
    product: Product, public: httpx2.Client, owner: Account
) -> None:
    empty, full = owner.project("Empty"), owner.project("Full", retention_days=1)
    sent = {"X-API-Key": owner.key(full)["key"]}
    tracked = {"url_path": "/", "method": "GET", "response_status_code": 200, "response_time_ms": 1}
    public.post("/Log/auth", json={"userKey": "u", "deviceType": "TV"}, headers=sent).raise_for_status()
    public.post("/api/v1/track", json=tracked, headers=sent).raise_for_status()

    maintain(product)

    assert owner.ask("GET", f"/{empty['project_key']}/retention").json() == []
    found = owner.ask("GET", f"/{full['project_key']}/retention").json()
    # Three days are kept at least, because a repeat within 48 hours gets the row of its first request.
    assert [(each["kind"], each["retention_days"], each["kept_rows"]) for each in found] == [
        ("api_request", 3, 1),
        ("auth_event", 3, 1),
    ]
