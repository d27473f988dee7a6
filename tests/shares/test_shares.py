"""A share shows the figures of its view until it ends. What it does not show is asked in the matrix of tenants."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from contract.shares import SHARES_MAX, TOKEN_PATTERN
from tests.database import rows
from tests.projects.conftest import PROJECTS, Account, created, refused

if TYPE_CHECKING:
    import httpx2

    from tests.servers import Product

FIGURES_OF_REQUESTS = ("summary", "endpoints", "endpoints/time-series", "time-series", "distribution")
REFUSED: dict[str, dict[str, Any]] = {
    "no view": {},
    "an unknown view": {"view": "people"},
    "a device of no view": {"view": "requests", "device_id": "d"},
    "a view of no device": {"view": "device"},
    "a range of another form": {"view": "requests", "range": "<script>"},
    "an end that is over": {"view": "requests", "expires_at": "2020-01-01T00:00:00Z"},
    "an end without a zone": {"view": "requests", "expires_at": "2099-01-01T00:00:00"},
    "an ancestor with a path": {"view": "requests", "frame_ancestors": ["https://example.com/x"]},
    "any ancestor": {"view": "requests", "frame_ancestors": ["*"]},
    "an ancestor that is a directive": {"view": "requests", "frame_ancestors": ["https://a.example; script-src *"]},
    "an ancestor with a line feed": {"view": "requests", "frame_ancestors": ["https://a.example\n"]},
    "too many ancestors": {"view": "requests", "frame_ancestors": ["https://a.example"] * 11},
}


@pytest.fixture(scope="module")
def project(owner: Account) -> dict[str, Any]:
    return owner.project("Shared")


@pytest.fixture(scope="module")
def path(project: dict[str, Any]) -> str:
    return f"/{project['project_key']}/shares"


def share(owner: Account, path: str, **fields: object) -> dict[str, Any]:
    return created(owner.ask("POST", path, {"view": "requests", **fields}))


def shown(public: httpx2.Client, token: str) -> httpx2.Response:
    return public.get("/api/v1/shared", headers={"X-API-Key": token})


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shared_is_refused(owner: Account, path: str, name: str) -> None:
    refused(owner.ask("POST", path, REFUSED[name]), 422)


def test_a_share_is_shown_once_and_listed_without_its_token(owner: Account, product: Product, path: str) -> None:
    end = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    body = {
        "view": "requests",
        "range": "24h",
        "expires_at": end.isoformat(),
        "frame_ancestors": ["https://status.example.com", "http://localhost:3000"],
    }
    first, second = (owner.ask("POST", path, body, Idempotency_Key="share 1") for _ in range(2))
    made = created(first)
    assert re.fullmatch(TOKEN_PATTERN, made["token"])
    assert made["path"] == f"/shared/{made['token']}"
    assert created(second) == made | {"token": None, "path": None, "warning": second.json()["warning"]}
    listed = {key: made[key] for key in made if key not in {"token", "path", "warning"}}
    assert listed in owner.ask("GET", path).json()
    assert (listed["view"], listed["range"]) == ("requests", "24h")
    assert datetime.fromisoformat(listed["expires_at"]) == end
    assert listed["frame_ancestors"] == body["frame_ancestors"]
    stored = "SELECT digest, row_to_json(s)::text FROM share AS s WHERE share_id = %(id)s::uuid"
    [(digest, row)] = rows(product.database, stored, {"id": made["id"]})
    assert bytes(digest) == hashlib.sha256(made["token"].encode()).digest()
    assert made["token"] not in row
    assert made["token"] not in product.public.log.read_text() if product.public.log else True


def test_a_share_tells_what_it_shows(owner: Account, public: httpx2.Client, project: dict[str, Any], path: str) -> None:
    made = share(owner, path, range="7d", frame_ancestors=["https://a.example"])
    answer = shown(public, made["token"])
    assert answer.headers["cache-control"] == "no-store"
    metrics = f"{PROJECTS}/{project['project_key']}/metrics"
    assert answer.json() == {
        "project_key": project["project_key"],
        "project_name": "Shared",
        "timezone": "UTC",
        "view": "requests",
        "device_id": None,
        "range": "7d",
        "frame_ancestors": ["https://a.example"],
        "expires_at": None,
        "figures": [f"{metrics}/{name}" for name in FIGURES_OF_REQUESTS],
    }


def test_each_view_reads_its_figures(owner: Account, public: httpx2.Client) -> None:
    project = owner.project("All views")
    path = f"/{project['project_key']}/shares"
    key = {"X-API-Key": owner.key(project, scopes=["ingest", "read", "manage"])["key"]}
    public.post("/Log/auth", json={"userKey": "u", "deviceType": "TV"}, headers=key).raise_for_status()
    public.post("/api/v1/devices", json={"device_id": "d 1"}, headers=key).raise_for_status()
    point = {"x": 1, "y": 2, "z": 3}
    public.post("/api/v1/stats/devices/d%201", json=point, headers=key).raise_for_status()
    asked: dict[str, list[tuple[str, str]]] = {
        "auth_events": [
            ("GET", "/Log/auth/statistics?deviceType=TV"),
            ("GET", "/Log/auth/timeseries?deviceType=TV&interval=hour"),
            ("GET", "/Log/auth/users"),
        ],
        "requests": [("GET", f"{PROJECTS}/{project['project_key']}/metrics/{name}") for name in FIGURES_OF_REQUESTS],
        "store_events": [
            ("GET", "/api/event/amount/purchase"),
            ("GET", "/api/event/avg-time/purchase"),
            ("GET", "/api/event/users"),
        ],
        "device": [
            ("GET", "/api/v1/stats/devices/d%201/series"),
            ("POST", "/api/v1/stats/devices/d%201/analyze"),
        ],
    }
    for view, requests in asked.items():
        token = share(owner, path, view=view, **({"device_id": "d 1"} if view == "device" else {}))["token"]
        for method, url in requests:
            body: dict[str, str] | None = {} if method == "POST" else None
            with_share = public.request(method, url, json=body, headers={"X-API-Key": token})
            with_key = public.request(method, url, json=body, headers=key)
            assert with_share.status_code == with_key.status_code == 200, (url, with_share.text)
            assert with_share.json() == with_key.json()


def test_an_ended_share_is_refused_at_once(owner: Account, public: httpx2.Client, path: str) -> None:
    made, other = share(owner, path), share(owner, path)
    assert shown(public, made["token"]).status_code == 200
    assert owner.ask("DELETE", f"{path}/{made['id']}").status_code == 204
    # The notification may take a moment.
    for _ in range(200):
        if shown(public, made["token"]).status_code == 401:
            break
    refused(shown(public, made["token"]), 401)
    assert shown(public, other["token"]).status_code == 200
    refused(owner.ask("DELETE", f"{path}/{made['id']}"), 404)
    refused(owner.ask("DELETE", f"{path}/{uuid4()}"), 404)
    refused(owner.ask("DELETE", f"{path}/x"), 422)


def test_an_expired_share_is_refused(owner: Account, public: httpx2.Client, product: Product, path: str) -> None:
    made = share(owner, path)
    past = "UPDATE share SET expires_at = now() - interval '1 second' WHERE share_id = %(id)s::uuid"
    rows(product.database, past, {"id": made["id"]})
    refused(shown(public, made["token"]), 401)
    assert made["id"] in {each["id"] for each in owner.ask("GET", path).json()}
    share(owner, path)
    assert made["id"] not in {each["id"] for each in owner.ask("GET", path).json()}


@pytest.mark.parametrize("how", ["inactive", "deleted"])
def test_a_share_ends_with_its_project(owner: Account, public: httpx2.Client, how: str) -> None:
    key = f"/{owner.project(f'Ends {how}')['project_key']}"
    made = share(owner, f"{key}/shares")
    answer = owner.ask("DELETE", key) if how == "deleted" else owner.ask("PATCH", key, {"is_active": False})
    assert answer.is_success
    refused(shown(public, made["token"]), 401)


@pytest.mark.parametrize("token", ["ds_share_", "ds_share_" + "A" * 22, "ds_share_ü", "ds_share_" + "A" * 5000])
def test_a_token_of_no_share_is_refused(public: httpx2.Client, token: str) -> None:
    sent = {b"X-API-Key": token.encode()}
    refused(public.get("/api/v1/shared", headers=sent), 401)
    assert public.get("/Log/auth/statistics?deviceType=TV", headers=sent).status_code == 401


def test_no_other_credential_is_a_share(owner: Account, public: httpx2.Client, project: dict[str, Any]) -> None:
    refused(public.get("/api/v1/shared"), 401)
    key = owner.key(project)["key"]
    refused(public.get("/api/v1/shared", headers={"X-API-Key": key}), 403)
    refused(public.get("/api/v1/shared", headers={"Authorization": f"Bearer {owner.token}"}), 403)


def test_only_owners_and_keys_that_manage_make_shares(
    owner: Account, public: httpx2.Client, project: dict[str, Any], path: str
) -> None:
    member = Account(public)
    refused(member.ask("POST", path, {"view": "requests"}), 404)
    assert owner.ask("POST", f"/{project['project_key']}/members", {"email": member.email}).is_success
    refused(member.ask("POST", path, {"view": "requests"}), 403)
    refused(member.ask("GET", path), 403)
    for scopes, status in ((["read"], 403), (["manage"], 201)):
        headers = {"X-API-Key": owner.key(project, scopes=scopes)["key"]}
        assert public.post(PROJECTS + path, json={"view": "requests"}, headers=headers).status_code == status


def test_a_project_has_a_limited_number_of_shares(owner: Account, product: Product) -> None:
    project = owner.project("Many shares")
    path = f"/{project['project_key']}/shares"
    share(owner, path)
    copies = """
        INSERT INTO share SELECT project_id, gen_random_uuid(), digest, shown_view, device_id, first_range,
                                 frame_ancestors, created_at, expires_at
          FROM share, generate_series(2, %(count)s) WHERE project_id = %(id)s
    """
    rows(product.database, copies, {"count": SHARES_MAX, "id": project["id"]})
    assert "at most" in refused(owner.ask("POST", path, {"view": "requests"}), 409)
