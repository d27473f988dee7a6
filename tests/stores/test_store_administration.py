"""Stores as an operator of the installation makes, lists, blocks and deletes them; nobody else may."""

import time
from uuid import uuid4

import httpx2
import pytest

from tests.accounts.conftest import bearer, login, new_email, register
from tests.accounts.forged import claims_of
from tests.database import command, rows
from tests.personal_databases import PersonalDatabases
from tests.servers import Product, run_command

SECONDS_MAX = 10.0
Bearer = dict[str, str]
OPERATOR = "UPDATE account SET is_operator = %(is_operator)s WHERE account_id = %(id)s RETURNING account_id"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Accounts are configured."""
    return product_with_accounts


def new_operator(public: httpx2.Client, databases: PersonalDatabases) -> Bearer:
    register(public, email := new_email()).raise_for_status()
    token = login(public, email).json()["access_token"]
    assert databases.rows(OPERATOR, {"id": claims_of(token)["sub"], "is_operator": True})
    return bearer(token)


@pytest.fixture(scope="module")
def operator(public: httpx2.Client, personal_databases: PersonalDatabases) -> Bearer:
    """The token of an operator."""
    return new_operator(public, personal_databases)


def make(public: httpx2.Client, operator: Bearer, **fields: object) -> dict[str, object]:
    answer = public.post("/api/store", json={"name": "Corner shop"} | fields, headers=operator)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def until(public: httpx2.Client, key: object, expected: int) -> None:
    ends = time.monotonic() + SECONDS_MAX
    while public.get("/api/event/users", headers={"X-API-Key": str(key)}).status_code != expected:
        assert time.monotonic() < ends


def test_a_store_is_made_with_a_key_that_is_shown_once(public: httpx2.Client, operator: Bearer) -> None:
    headers = operator | {"Idempotency-Key": str(uuid4())}
    draft = {"name": "Corner shop", "timezone": "Asia/Tokyo", "is_admin": True}
    first, again = (public.post("/api/store/", json=draft, headers=headers) for _ in range(2))
    made = first.json()
    assert made == {"id": made["id"], "name": "Corner shop", "is_active": True, "api_key": made["api_key"]}
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json() == made | {"api_key": None}
    assert public.post("/api/store", json=draft | {"name": "Other"}, headers=headers).status_code == 409
    numbers = public.get("/api/event/users", headers={"X-API-Key": made["api_key"]})
    assert (numbers.status_code, numbers.json()["timezone"]) == (200, "Asia/Tokyo")
    assert public.post("/api/auth", json={"api_key": made["api_key"]}).status_code == 200
    shown = {"id": made["id"], "name": "Corner shop", "is_active": True}
    listed = public.get("/api/store?limit=1000", headers=operator)
    assert shown in listed.json()
    assert made["api_key"] not in listed.text
    ids = [each["id"] for each in listed.json()]
    assert ids == sorted(ids)
    assert [each["id"] for each in public.get("/api/store?offset=1&limit=1", headers=operator).json()] == ids[1:2]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "n" * 101}, "name"),
        ({"name": "n", "timezone": "Mars/Base"}, "timezone"),
        ({"name": "n", "is_active": "yes"}, "is_active"),
        ({"name": "n", "is_active": None}, "is_active"),
    ],
)
def test_a_malformed_store_is_refused(
    public: httpx2.Client, operator: Bearer, body: dict[str, object], field: str
) -> None:
    answer = public.post("/api/store", json=body, headers=operator)
    assert (answer.status_code, [each["field"] for each in answer.json()["errors"]]) == (422, [field])


def test_a_blocked_store_is_refused_until_it_is_unblocked(public: httpx2.Client, operator: Bearer) -> None:
    store = make(public, operator)
    until(public, store["api_key"], 200)
    chosen = {"store_id": store["id"]}
    for _ in range(2):
        answer = public.post("/api/store/block", json=chosen, headers=operator)
        assert (answer.status_code, answer.json()) == (201, {"message": "Store successfully blocked"})
    until(public, store["api_key"], 401)
    assert public.post("/api/auth", json={"api_key": store["api_key"]}).status_code == 403
    assert {"id": store["id"], "name": "Corner shop", "is_active": False} in public.get(
        "/api/store?limit=1000", headers=operator
    ).json()
    answer = public.post("/api/store/unblock", json=chosen, headers=operator)
    assert (answer.status_code, answer.json()) == (201, {"message": "Store successfully unblocked"})
    until(public, store["api_key"], 200)


def test_a_store_may_be_made_blocked(public: httpx2.Client, operator: Bearer) -> None:
    store = make(public, operator, is_active=False)
    assert store["is_active"] is False
    until(public, store["api_key"], 401)


@pytest.mark.parametrize("store_id", [999_999, 0, -1, 2**31, "2", None, True])
def test_a_store_that_is_not_there_is_not_blocked(public: httpx2.Client, operator: Bearer, store_id: object) -> None:
    for what in ("block", "unblock"):
        answer = public.post(f"/api/store/{what}", json={"store_id": store_id}, headers=operator)
        assert answer.status_code == (404 if store_id == 999_999 else 422), answer.text


@pytest.mark.parametrize("store_id", ["999999", "0", "-1", "x", "2147483648", "1e3", "%D9%A1", "a%2Fb"])
def test_a_store_that_is_not_there_is_not_deleted_and_has_no_amounts(
    public: httpx2.Client, operator: Bearer, store_id: str
) -> None:
    assert public.delete(f"/api/store/{store_id}", headers=operator).status_code == 404
    assert public.get(f"/api/event/store-events-amount/{store_id}", headers=operator).status_code == 404


def test_a_deleted_store_says_what_it_had_and_is_gone(
    product: Product, personal_databases: PersonalDatabases, public: httpx2.Client, operator: Bearer
) -> None:
    store = make(public, operator)
    user, erased = str(uuid4()), str(uuid4())
    insert = """
        INSERT INTO project_person (project_id, person_id, erased_at)
        VALUES (%(store)s, %(user)s, NULL), (%(store)s, %(erased)s, now())
    """
    rows(product.database, insert, {"store": store["id"], "user": user, "erased": erased})
    key = {"X-API-Key": str(store["api_key"])}
    for type_ in ("a", "a", "b"):
        event: dict[str, object] = {"type": type_, "user_id": user, "data": {}}
        assert public.post("/api/event", json=event, headers=key).status_code == 201
    amounts = public.get(f"/api/event/store-events-amount/{store['id']}", headers=operator)
    assert [each["event_amount"] for each in amounts.json()] == [3]
    answer = public.delete(f"/api/store/{store['id']}", headers=operator)
    assert (answer.status_code, answer.json()) == (
        200,
        {"users": "1 users were deleted", "events": "3 events were deleted"},
    )
    until(public, store["api_key"], 401)
    assert public.delete(f"/api/store/{store['id']}", headers=operator).status_code == 404
    assert public.post("/api/store/block", json={"store_id": store["id"]}, headers=operator).status_code == 404
    assert public.get(f"/api/event/store-events-amount/{store['id']}", headers=operator).status_code == 404
    assert store["id"] not in {each["id"] for each in public.get("/api/store?limit=1000", headers=operator).json()}
    long_ago = "UPDATE project SET deleted_at = now() - interval '1 hour' WHERE project_id = %(store)s"
    rows(product.database, long_ago, {"store": store["id"]})
    run_command(product.database.writer_env | personal_databases.environment, "maintain")
    for table in ("project", "project_person", "store_event", "event_type", "store_event_day", "store_event_presence"):
        count = f"SELECT count(*) FROM {table} WHERE project_id = %(store)s"  # noqa: S608 - one of these
        assert rows(product.database, count, {"store": store["id"]}) == [(0,)]
    assert "no drift" in command(product, "verify-counts")


def test_the_default_project_stays(public: httpx2.Client, operator: Bearer) -> None:
    assert public.delete("/api/store/1", headers=operator).status_code == 409
    assert public.get("/api/event/store-events-amount/1", headers=operator).json() == []


def requests_of(store: dict[str, object]) -> list[dict[str, object]]:
    chosen = {"store_id": store["id"]}
    return [
        {"method": "GET", "url": "/api/store"},
        {"method": "POST", "url": "/api/store", "json": {"name": "Mine"}},
        {"method": "POST", "url": "/api/store/block", "json": chosen},
        {"method": "POST", "url": "/api/store/unblock", "json": chosen},
        {"method": "DELETE", "url": f"/api/store/{store['id']}"},
        {"method": "GET", "url": f"/api/event/store-events-amount/{store['id']}"},
    ]


def test_only_an_operator_may_do_any_of_it(public: httpx2.Client, operator: Bearer) -> None:
    store = make(public, operator)
    register(public, email := new_email()).raise_for_status()
    token = login(public, email).json()["access_token"]
    key = {"X-API-Key": str(store["api_key"])}
    store_token = bearer(public.post("/api/auth", json={"api_key": store["api_key"]}).json()["access_token"])
    for request in requests_of(store):
        for credential, status in ((bearer(token), 403), (key, 403), (store_token, 403), ({}, 401)):
            answer = public.request(**request, headers=credential)  # type: ignore[arg-type]  # of this file
            assert answer.status_code == status, (request, answer.text)
    until(public, store["api_key"], 200)


def test_who_is_no_operator_any_more_changes_nothing_even_while_it_is_remembered(
    public: httpx2.Client, operator: Bearer, personal_databases: PersonalDatabases
) -> None:
    """What the public service remembers is asked again, by the private one, before a change."""
    store = make(public, operator)
    former = new_operator(public, personal_databases)
    assert public.get("/api/store", headers=former).status_code == 200
    account = claims_of(former["Authorization"].removeprefix("Bearer "))["sub"]
    personal_databases.rows(OPERATOR, {"id": account, "is_operator": False})
    for request in requests_of(store):
        if request["method"] != "GET":
            answer = public.request(**request, headers=former)  # type: ignore[arg-type]  # of this file
            assert answer.status_code == 403, (request, answer.text)
    until(public, store["api_key"], 200)
