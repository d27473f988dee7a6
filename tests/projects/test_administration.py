"""The private service's routes for projects, members and keys: what an account may change, and what it may not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from contract.access import key_id_of
from tests.database import command, rows
from tests.projects.conftest import created, refused
from tests.servers import Product

if TYPE_CHECKING:
    import httpx2

PROJECTS = "/administration/projects"


class Speaker:
    """The public service, which speaks for one account."""

    def __init__(self, private: httpx2.Client) -> None:
        self.id = str(uuid4())
        self._private = private

    def ask(self, method: str, path: str, body: object = None) -> httpx2.Response:
        return self._private.request(method, PROJECTS + path, params={"account_id": self.id}, json=body)

    def create(self, method_path: str, draft: object, key: str | None = None, sha: str = "0" * 64) -> httpx2.Response:
        wanted = {"draft": draft, "idempotency_key": None if key is None else {"key": key, "fingerprint": sha}}
        return self.ask("POST", method_path, wanted)

    def project(self, name: str = "Shop", **fields: object) -> dict[str, Any]:
        return created(self.create("", {"name": name, **fields}))

    def key(self, project: dict[str, Any], **fields: object) -> dict[str, Any]:
        return created(self.create(f"/{project['project_key']}/api-keys", {"name": "till", **fields}))


@pytest.fixture
def owner(private: httpx2.Client) -> Speaker:
    return Speaker(private)


@pytest.fixture
def member(private: httpx2.Client) -> Speaker:
    return Speaker(private)


def test_a_project_is_created_changed_and_deleted(product: Product, owner: Speaker) -> None:
    project = owner.project("  Café  ", timezone="Europe/Berlin", retention_days=30)
    assert project["project_key"].startswith("cafe-")
    assert (project["name"], project["role"], project["is_active"]) == ("Café", "owner", True)
    assert (project["apdex_threshold_ms"], project["retention_days"], project["description"]) == (500, 30, None)

    path = f"/{project['project_key']}"
    changed = owner.ask("PATCH", path, {"name": "Tea", "description": "hot", "retention_days": None}).json()
    assert (changed["name"], changed["description"], changed["retention_days"]) == ("Tea", "hot", None)
    assert (changed["timezone"], changed["project_key"]) == ("Europe/Berlin", project["project_key"])
    assert changed["updated_at"] > changed["created_at"] == project["created_at"]
    assert owner.ask("PATCH", path, {}).json()["name"] == "Tea"

    refused(owner.create("", {"name": "Tea"}), 409)
    assert owner.ask("DELETE", path).status_code == 204
    refused(owner.ask("DELETE", path), 404)
    refused(owner.ask("PATCH", path, {"name": "x"}), 404)
    owner.project("Tea")  # the name is free again
    assert rows(product.database, "SELECT count(*) FROM stats.project WHERE project_key = %(k)s", {"k": path[1:]}) == [
        (0,)
    ]


def test_a_name_is_unique_for_one_account_alone(owner: Speaker, member: Speaker) -> None:
    owner.project("Shop")
    member.project("Shop")
    other = owner.project("Other")
    refused(owner.ask("PATCH", f"/{other['project_key']}", {"name": "Shop"}), 409)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("name", "a\nb"),
        ("name", None),
        ("name", 7),
        ("description", "x" * 1001),
        ("description", ""),
        ("timezone", "Mars/Base"),
        ("timezone", None),
        ("apdex_threshold_ms", 0),
        ("apdex_threshold_ms", "500"),
        ("apdex_threshold_ms", None),
        ("retention_days", 0),
        ("retention_days", 36_501),
        ("retention_days", True),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_wrong_with_a_project_is_named(owner: Speaker, field: str, value: object) -> None:
    drafted = owner.create("", {"name": "Shop", field: value})
    changed = owner.ask("PATCH", f"/{owner.project('Good')['project_key']}", {field: value})
    for answer in (drafted, changed):
        refused(answer, 422)
        assert {error["field"].split(".")[-1] for error in answer.json()["errors"]} == {field}


def test_the_default_project_is_never_deleted(product: Product, owner: Speaker) -> None:
    rows(product.database, "INSERT INTO project_member VALUES (1, %(a)s, 'owner', now())", {"a": owner.id})
    assert "default" in refused(owner.ask("DELETE", "/default"), 409)


CHANGES: list[tuple[str, str, object]] = [
    ("PATCH", "", {"name": "Mine"}),
    ("DELETE", "", None),
    ("POST", "/api-keys", {"draft": {"name": "k"}}),
    ("PATCH", "/api-keys/{key}", {"is_active": False}),
    ("DELETE", "/api-keys/{key}", None),
    ("POST", "/api-keys/{key}/rotate", {"draft": {}}),
]


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{method} {path}" for method, path, _ in CHANGES])
def test_only_an_owner_changes_a_project(
    product: Product, owner: Speaker, member: Speaker, private: httpx2.Client, method: str, path: str, body: object
) -> None:
    project = owner.project()
    key = owner.key(project)
    path = f"/{project['project_key']}{path.format(key=key['id'])}"
    joined = "INSERT INTO project_member VALUES (%(p)s, %(a)s, 'member', now())"
    rows(product.database, joined, {"p": project["id"], "a": member.id})
    before = rows(product.database, "SELECT * FROM api_key ORDER BY created_at")

    assert refused(Speaker(private).ask(method, path, body), 404) == "Project not found"
    refused(member.ask(method, path, body), 403)
    assert rows(product.database, "SELECT * FROM api_key ORDER BY created_at") == before
    assert owner.ask(method, path, body).is_success


def test_a_key_is_created_changed_rotated_and_deleted(product: Product, owner: Speaker) -> None:
    project = owner.project()
    path = f"/{project['project_key']}/api-keys"
    key = owner.key(project, scopes=["read", "ingest", "read"], rate_limit="600/minute")
    assert key_id_of(key["key"]) == key["id"]
    assert key["prefix"] == f"ds_live_{key['id']}"
    assert key["key"].startswith(key["prefix"])
    assert (key["scopes"], key["rate_limit"]) == (["ingest", "read"], "600/minute")
    assert (key["is_active"], key["total_requests"], key["last_used_at"]) == (True, 0, None)
    life = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert life == timedelta(days=60)
    assert owner.key(project, expires_at=None)["expires_at"] is None
    assert owner.key(project, expires_at="2999-01-01T01:00:00+01:00")["expires_at"] == "2999-01-01T00:00:00Z"

    changed = owner.ask("PATCH", f"{path}/{key['id']}", {"name": "till 2", "rate_limit": None}).json()
    assert (changed["name"], changed["rate_limit"], "key" in changed) == ("till 2", None, False)
    assert owner.ask("PATCH", f"{path}/{key['id']}", {"is_active": False}).json()["is_active"] is False
    refused(owner.create(f"{path}/{key['id']}/rotate", {}), 409)
    assert owner.ask("PATCH", f"{path}/{key['id']}", {"is_active": True}).json()["is_active"] is True

    successor = created(owner.create(f"{path}/{key['id']}/rotate", {"overlap_seconds": 0}))
    assert (successor["name"], successor["scopes"]) == ("till 2", ["ingest", "read"])
    assert "rotated" in refused(owner.ask("PATCH", f"{path}/{key['id']}", {"is_active": True}), 409)
    assert owner.ask("DELETE", f"{path}/{key['id']}").status_code == 204
    for method, body in (("DELETE", None), ("PATCH", {"name": "x"})):
        refused(owner.ask(method, f"{path}/{key['id']}", body), 404)
    stored = rows(product.database, "SELECT key_id FROM api_key WHERE project_id = %(p)s", {"p": project["id"]})
    assert (key["id"],) not in stored
    assert (successor["id"],) in stored


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "x" * 101),
        ("scopes", []),
        ("scopes", ["admin"]),
        ("expires_at", "2001-01-01T00:00:00Z"),
        ("expires_at", "2999-01-01"),
        ("rate_limit", "many"),
        ("rate_limit", "0/minute"),
        ("rate_limit", "10/week"),
    ],
    ids=str,
)
def test_what_is_wrong_with_a_key_is_named(owner: Speaker, field: str, value: object) -> None:
    path = f"/{owner.project()['project_key']}/api-keys"
    answer = owner.create(path, {"name": "till", field: value})
    refused(answer, 422)
    assert field in answer.json()["errors"][0]["field"]


@pytest.mark.parametrize("seconds", [-1, 30 * 86_400 + 1, 1.5, "60", True])
def test_an_overlap_is_whole_seconds_of_at_most_30_days(owner: Speaker, seconds: object) -> None:
    project = owner.project()
    path = f"/{project['project_key']}/api-keys/{owner.key(project)['id']}/rotate"
    refused(owner.create(path, {"overlap_seconds": seconds}), 422)


def test_an_expired_key_is_neither_activated_nor_rotated(product: Product, owner: Speaker) -> None:
    project = owner.project()
    key = owner.key(project)
    rows(product.database, "UPDATE api_key SET expires_at = now() WHERE key_id = %(id)s", {"id": key["id"]})
    path = f"/{project['project_key']}/api-keys/{key['id']}"
    assert "expired" in refused(owner.ask("PATCH", path, {"is_active": True}), 409)
    assert "expired" in refused(owner.create(f"{path}/rotate", {}), 409)
    assert owner.ask("PATCH", path, {"name": "old"}).json()["is_active"] is False


def test_ten_keys_are_active_and_two_at_once_do_not_make_eleven(owner: Speaker) -> None:
    project = owner.project()
    made = [owner.key(project) for _ in range(9)]
    with ThreadPoolExecutor(6) as threads:
        path = f"/{project['project_key']}/api-keys"
        answers = list(threads.map(lambda _: owner.create(path, {"name": "tenth"}).status_code, range(6)))
    assert sorted(answers) == [201, 409, 409, 409, 409, 409]
    owner.ask("PATCH", f"{path}/{made[0]['id']}", {"is_active": False})
    owner.key(project)
    assert "at most 10" in refused(owner.ask("PATCH", f"{path}/{made[0]['id']}", {"is_active": True}), 409)


def test_a_repeat_creates_nothing_and_shows_no_secret_again(product: Product, owner: Speaker, member: Speaker) -> None:
    first = owner.create("", {"name": "Shop"}, key="once")
    repeat = owner.create("", {"name": "Shop"}, key="once")
    assert repeat.json() == first.json()
    assert repeat.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    refused(owner.create("", {"name": "Tea"}, key="once", sha="1" * 64), 409)
    assert created(member.create("", {"name": "Shop"}, key="once"))["id"] != first.json()["id"]

    path = f"/{first.json()['project_key']}/api-keys"
    key = created(owner.create(path, {"name": "till"}, key="once"))
    again = created(owner.create(path, {"name": "till"}, key="once"))
    assert again["key"] is None
    assert "first response" in again["warning"]
    assert {name: again[name] for name in again if name not in {"key", "warning"}} == {
        name: key[name] for name in key if name not in {"key", "warning"}
    }
    successor = created(owner.create(f"{path}/{key['id']}/rotate", {}, key="once"))
    assert created(owner.create(f"{path}/{key['id']}/rotate", {}, key="once"))["id"] == successor["id"]
    counted = rows(product.database, "SELECT count(*) FROM api_key WHERE project_id = %(p)s", {"p": first.json()["id"]})
    assert counted == [(2,)]
    [(texts,)] = rows(product.database, "SELECT string_agg(i::text, ' ') FROM idempotency AS i")
    assert key["key"] not in texts
    assert successor["key"] not in texts


def test_the_use_of_keys_adds_up(product: Product, owner: Speaker, private: httpx2.Client) -> None:
    project = owner.project()
    first, second = owner.key(project), owner.key(project)
    late, early = datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 11, 30, 11, tzinfo=UTC)

    def report(key: dict[str, Any], requests: int, at: datetime) -> dict[str, object]:
        return {"project_id": project["id"], "key_id": key["id"], "requests": requests, "last_used_at": at.isoformat()}

    unknown = {"project_id": project["id"], "key_id": "0" * 12, "requests": 1, "last_used_at": late.isoformat()}
    uses = [report(first, 5, late), report(second, 1, early), unknown]
    assert private.post("/administration/key-uses", json={"uses": uses}).status_code == 204
    assert private.post("/administration/key-uses", json={"uses": [report(first, 2, early)]}).status_code == 204
    stored = "SELECT total_requests, last_used_at FROM api_key WHERE key_id = %(id)s"
    assert rows(product.database, stored, {"id": first["id"]}) == [(7, late)]
    assert rows(product.database, stored, {"id": second["id"]}) == [(1, early)]

    refused(private.post("/administration/key-uses", json={"uses": [report(first, 0, late)]}), 422)
    many = {"uses": [{**unknown, "key_id": f"{number:012}"} for number in range(10_000)]}
    assert private.post("/administration/key-uses", json=many).status_code == 204


def test_every_route_needs_the_service_token_and_an_account(private: httpx2.Client) -> None:
    for method, path in (("POST", PROJECTS), ("DELETE", f"{PROJECTS}/default"), ("POST", "/administration/key-uses")):
        answer = private.request(method, path, headers={"Authorization": "Bearer wrong"}, json={})
        refused(answer, 401)
    refused(private.post(PROJECTS, json={"draft": {"name": "Shop"}}), 422)
    refused(private.post(PROJECTS, params={"account_id": "me"}, json={"draft": {"name": "Shop"}}), 422)


def test_an_operator_ends_and_revives_a_project(product: Product, owner: Speaker) -> None:
    project = command(product, "create-project", "shop").strip()
    refused(owner.ask("PATCH", f"/{project}", {"name": "Mine"}), 404)
    active = "SELECT is_active FROM project WHERE project_key = %(key)s"
    for verb, state in (("deactivate", False), ("activate", True)):
        printed = command(product, f"{verb}-project", project)
        assert printed == f"project {project} is {'active' if state else 'inactive'}\n"
        assert rows(product.database, active, {"key": project}) == [(state,)]
