"""The public routes for projects, members and API keys: each accepts what it should, and refuses the rest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from contract.access import key_id_of
from tests.database import rows
from tests.projects.conftest import PROJECTS, Account, created, refused
from tests.servers import finished_command

if TYPE_CHECKING:
    from tests.personal_databases import PersonalDatabases
    from tests.servers import Product

STATISTICS = "/Log/auth/statistics"
ROUTES = [
    ("GET", "", None),
    ("POST", "", {"name": "Other"}),
    ("GET", "/{project}", None),
    ("PATCH", "/{project}", {"description": "hot"}),
    ("GET", "/{project}/members", None),
    ("GET", "/{project}/retention", None),
    ("GET", "/{project}/api-keys", None),
    ("POST", "/{project}/api-keys", {"name": "k"}),
    ("GET", "/{project}/api-keys/{key}", None),
    ("PATCH", "/{project}/api-keys/{key}", {"name": "k"}),
    ("POST", "/{project}/api-keys/{key}/rotate", None),
    ("DELETE", "/{project}/api-keys/{key}", None),
    ("DELETE", "/{project}", None),
]
NAMES = [f"{method} {path}" for method, path, _ in ROUTES]


def opens(public: httpx2.Client, key: str) -> int:
    """The status of a request with an API key."""
    return public.get(STATISTICS, headers={"X-API-Key": key}).status_code


@pytest.mark.parametrize("slash", ["", "/"], ids=["plain", "slash"])
@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=NAMES)
def test_each_route_answers_an_owner_and_nobody_else(
    public: httpx2.Client, owner: Account, member: Account, method: str, path: str, body: object, slash: str
) -> None:
    project = owner.project(f"{method} {path} {slash}".replace("{", "").replace("}", ""))
    key = owner.key(project)
    named = path.format(project=project["project_key"], key=key["id"]) + slash
    if body is not None and path == "":
        body = {"name": f"Other {slash}"}

    assert refused(public.request(method, PROJECTS + named, json=body), 401)
    refused(public.request(method, PROJECTS + named, json=body, headers={"X-API-Key": key["key"]}), 403)
    if path:
        foreign = member.ask(method, named, body)
        assert refused(foreign, 404) == "Project not found"
        assert foreign.json()["error"] == "Project not found"
    answer = owner.ask(method, named, body)
    assert answer.is_success, answer.text
    assert answer.headers["cache-control"] == "no-store"
    if answer.status_code != 204:
        assert answer.headers["content-type"] == "application/json"


def test_a_project_is_listed_with_its_settings(owner: Account, member: Account) -> None:
    project = owner.project("Café", timezone="Europe/Berlin", description="tea", apdex_threshold_ms=200)
    path = f"/{project['project_key']}"
    assert owner.ask("GET", path).json() == project
    assert project in owner.ask("GET", "").json()
    assert project not in member.ask("GET", "").json()
    assert set(project) == {
        "id",
        "project_key",
        "name",
        "description",
        "timezone",
        "apdex_threshold_ms",
        "retention_days",
        "is_active",
        "created_at",
        "updated_at",
        "role",
    }
    changed = owner.ask("PATCH", path, {"name": "Tea", "description": None}).json()
    assert owner.ask("GET", path).json() == changed
    assert (changed["name"], changed["description"]) == ("Tea", None)
    refused(owner.ask("POST", "", {"name": "Tea"}), 409)
    assert owner.ask("DELETE", path).status_code == 204
    refused(owner.ask("GET", path), 404)
    assert changed not in owner.ask("GET", "").json()
    owner.project("Tea")


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "", {}, "name"),
        ("POST", "", {"name": "x", "timezone": "Mars/Base"}, "timezone"),
        ("POST", "", [], None),
        ("PATCH", "/{project}", {"name": None}, "name"),
        ("PATCH", "/{project}", {"is_active": "no"}, "is_active"),
        ("POST", "/{project}/members", {"email": "nobody@example.com", "role": "king"}, "role"),
        ("POST", "/{project}/members", {"role": "member"}, "email"),
        ("POST", "/{project}/api-keys", {"name": "k", "expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ("POST", "/{project}/api-keys", {"name": "k", "scopes": ["admin"]}, "scopes.0"),
        ("POST", "/{project}/api-keys", {"name": "k", "rate_limit": "10/week"}, "rate_limit"),
        ("PATCH", "/{project}/api-keys/{key}", {"is_active": None}, "is_active"),
        ("POST", "/{project}/api-keys/{key}/rotate", {"overlap_seconds": -1}, "overlap_seconds"),
        ("GET", "/{project}/api-keys?active_only=perhaps", None, "active_only"),
        ("GET", "/{project}/api-keys?active=true", None, "active"),
        ("GET", "/{project}/retention?kind=auth_event", None, "kind"),
        ("GET", "?limit=3", None, "limit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_wrong_is_named(
    product: Product, owner: Account, method: str, path: str, body: object, field: str | None
) -> None:
    [(number,)] = rows(product.database, "SELECT count(*) FROM project")
    project = owner.project(f"Wrong {number}")
    path = path.format(project=project["project_key"], key=owner.key(project)["id"])
    answer = owner.ask(method, path, body)
    refused(answer, 422)
    if field is not None:
        assert field in [error["field"] for error in answer.json()["errors"]]


def test_members_see_a_project_and_owners_change_it(owner: Account, member: Account, public: httpx2.Client) -> None:
    project = owner.project("Members")
    key = owner.key(project)
    path = f"/{project['project_key']}"
    refused(member.ask("POST", f"{path}/members", {"email": member.email}), 404)
    refused(owner.ask("POST", f"{path}/members", {"email": "nobody@example.com"}), 404)
    joined = created(owner.ask("POST", f"{path}/members", {"email": member.email.upper()}, Idempotency_Key="once"))
    assert joined["role"] == "member"
    repeat = owner.ask("POST", f"{path}/members", {"email": member.email}, Idempotency_Key="once")
    assert (repeat.json(), repeat.headers["idempotent-replayed"]) == (joined, "true")
    refused(owner.ask("POST", f"{path}/members", {"email": member.email}), 409)

    assert member.ask("GET", path).json() == {**project, "role": "member"}
    listed = member.ask("GET", f"{path}/members").json()
    assert [each["role"] for each in listed] == ["owner", "member"]
    assert "@" not in str(listed)
    assert [each["id"] for each in member.ask("GET", f"{path}/api-keys").json()] == [key["id"]]
    for method, below, body in ROUTES:
        if method != "GET" and below:
            answer = member.ask(method, below.format(project=path[1:], key=key["id"]), body)
            refused(answer, 403)

    refused(member.ask("DELETE", f"{path}/members/{listed[0]['account_id']}"), 403)
    assert "owner" in refused(owner.ask("DELETE", f"{path}/members/{listed[0]['account_id']}"), 409)
    assert member.ask("DELETE", f"{path}/members/{joined['account_id']}").status_code == 204
    refused(member.ask("GET", path), 404)
    refused(owner.ask("DELETE", f"{path}/members/{joined['account_id']}"), 404)

    second = Account(public)
    created(owner.ask("POST", f"{path}/members", {"email": second.email, "role": "owner"}))
    assert second.ask("DELETE", f"{path}/members/{listed[0]['account_id']}").status_code == 204
    refused(owner.ask("GET", path), 404)


def test_keys_are_listed_without_their_secrets(owner: Account) -> None:
    project = owner.project("Listed")
    path = f"/{project['project_key']}/api-keys"
    first, second = owner.key(project, rate_limit="600/minute"), owner.key(project, expires_at=None)
    assert key_id_of(first["key"]) == first["id"]
    assert "cannot be shown again" in first["warning"]
    stored = [{name: key[name] for name in key if name not in {"key", "warning"}} for key in (first, second)]
    assert owner.ask("GET", path).json() == stored
    assert owner.ask("GET", f"{path}/{first['id']}").json() == stored[0]
    refused(owner.ask("GET", f"{path}/{'0' * 12}"), 404)

    owner.ask("PATCH", f"{path}/{second['id']}", {"is_active": False})
    assert [each["is_active"] for each in owner.ask("GET", path).json()] == [True, False]
    assert owner.ask("GET", f"{path}/?active_only=true").json() == stored[:1]
    assert len(owner.ask("GET", f"{path}?active_only=false").json()) == 2


def test_a_key_records_to_its_project_alone_and_what_ends_it(public: httpx2.Client, owner: Account) -> None:
    project = owner.project("Keys")
    path = f"/{project['project_key']}/api-keys"
    deleted, revoked, rotated, kept = (owner.key(project) for _ in range(4))
    assert owner.ask("DELETE", f"{path}/{deleted['id']}").status_code == 204
    owner.ask("PATCH", f"{path}/{revoked['id']}", {"is_active": False})
    successor = created(owner.ask("POST", f"{path}/{rotated['id']}/rotate", {"overlap_seconds": 0}))
    assert [opens(public, each["key"]) for each in (deleted, revoked, rotated)] == [401] * 3
    assert [opens(public, each["key"]) for each in (successor, kept)] == [200] * 2


def test_a_rotated_key_is_valid_for_its_overlap_and_no_longer(public: httpx2.Client, owner: Account) -> None:
    project = owner.project("Overlap")
    path = f"/{project['project_key']}/api-keys"
    old = owner.key(project)
    new = created(owner.ask("POST", f"{path}/{old['id']}/rotate", {"overlap_seconds": 3}))
    rotated_at = time.monotonic()
    assert [opens(public, each["key"]) for each in (old, new)] == [200, 200]
    while opens(public, old["key"]) == 200:
        assert time.monotonic() < rotated_at + 10
        time.sleep(0.1)
    assert opens(public, old["key"]) == 401
    assert opens(public, new["key"]) == 200
    refused(owner.ask("POST", f"{path}/{old['id']}/rotate"), 409)
    default = created(owner.ask("POST", f"{path}/{new['id']}/rotate/"))
    [listed] = [each for each in owner.ask("GET", path).json() if each["id"] == new["id"]]
    assert listed["replaced_by"] == default["id"]
    assert listed["is_active"] is True


@pytest.mark.parametrize("change", [("PATCH", {"is_active": False}), ("DELETE", None)], ids=["inactive", "deleted"])
def test_the_keys_of_a_project_end_with_it(
    public: httpx2.Client, owner: Account, change: tuple[str, dict[str, Any] | None]
) -> None:
    project = owner.project(f"Ends by {change[0]}")
    key = owner.key(project)
    assert owner.ask(change[0], f"/{project['project_key']}", change[1]).is_success
    assert opens(public, key["key"]) == 401


def test_a_repeat_creates_nothing_and_shows_no_secret(owner: Account) -> None:
    first = owner.ask("POST", "", {"name": "Once"}, Idempotency_Key="p-1")
    repeat = owner.ask("POST", "/", {"name": " Once "}, Idempotency_Key="p-1")
    assert (first.json(), repeat.headers["idempotent-replayed"]) == (repeat.json(), "true")
    refused(owner.ask("POST", "", {"name": "Twice"}, Idempotency_Key="p-1"), 409)
    refused(owner.ask("POST", "", {"name": "Twice"}, Idempotency_Key="x" * 256), 422)

    path = f"/{first.json()['project_key']}/api-keys"
    key = created(owner.ask("POST", path, {"name": "k", "expires_at": None}, Idempotency_Key="k-1"))
    again = created(owner.ask("POST", path, {"name": "k", "expires_at": None}, Idempotency_Key="k-1"))
    assert (again["id"], again["key"]) == (key["id"], None)
    refused(owner.ask("POST", path, {"name": "k"}, Idempotency_Key="k-1"), 409)
    other = owner.key(first.json())
    rotate = f"{path}/{key['id']}/rotate"
    successor = created(owner.ask("POST", rotate, Idempotency_Key="r-1"))
    assert created(owner.ask("POST", rotate, {}, Idempotency_Key="r-1"))["id"] == successor["id"]
    refused(owner.ask("POST", f"{path}/{other['id']}/rotate", Idempotency_Key="r-1"), 409)


def test_an_operator_gives_a_project_an_owner(
    product: Product, personal_databases: PersonalDatabases, owner: Account
) -> None:
    env = product.database.writer_env | personal_databases.environment
    project = finished_command(env, "create-project", "by hand").stdout.strip()
    refused(owner.ask("GET", f"/{project}"), 404)
    assert finished_command(env, "add-owner", project, owner.email).returncode == 0
    assert owner.ask("GET", f"/{project}").json()["role"] == "owner"
    for wrong in (("nobody", owner.email), (project, "nobody@example.com"), (project, owner.email)):
        finished = finished_command(env, "add-owner", *wrong)
        assert (finished.returncode, len(finished.stderr.splitlines())) == (1, 1)


def test_while_the_private_service_is_away_reads_go_on_and_changes_are_refused(
    product: Product, public: httpx2.Client
) -> None:
    account = Account(public)
    project = account.project("Alone")
    product.private.stop()
    try:
        assert account.ask("GET", f"/{project['project_key']}").json() == project
        answer = account.ask("PATCH", f"/{project['project_key']}", {"name": "Tea"})
        refused(answer, 503)
        assert answer.json()["code"] == "not-recorded"
    finally:
        product.private.start()
        product.private.wait_ready()
    assert account.ask("PATCH", f"/{project['project_key']}", {"name": "Tea"}).status_code == 200
