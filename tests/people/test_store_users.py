"""Users of a store (family 4), through both services."""

from collections.abc import Iterator
from urllib.parse import quote
from uuid import UUID

import httpx2
import pytest

from tests.accounts.conftest import bearer, login, register
from tests.database import rows
from tests.people.conftest import USER, USERS, client_of, new_email, refused_fields, store_user, user
from tests.servers import Product


@pytest.fixture(scope="module")
def shared(product: Product) -> Iterator[httpx2.Client]:
    """A store that several tests share."""
    with client_of(product) as client:
        yield client


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_user_is_created_found_and_changed(product: Product, shared: httpx2.Client, slash: str) -> None:
    body = store_user()
    created = shared.post(f"{USER}{slash}", json=body)
    assert created.status_code == 201, created.text
    stored = created.json()
    [(project_id,)] = rows(
        product.database,
        "SELECT project_id FROM project_person WHERE person_id = %(id)s::uuid AND erased_at IS NULL",
        {"id": stored["id"]},
    )
    assert stored == {"id": str(UUID(stored["id"])), "store_id": project_id, **body}

    found = shared.get(f"{USER}/{str(body['email']).upper()}{slash}")
    assert (found.status_code, found.json()) == (200, {"id": stored["id"]})
    assert found.headers["cache-control"] == "no-store"
    changed = shared.patch(f"{USER}{slash}", json={"email": body["email"], "username": "New" + str(body["username"])})
    assert (changed.status_code, changed.json()) == (201, {"message": "User successfully updated"})
    assert shared.get(f"{USERS}/{stored['id']}").json()["username"] == "New" + str(body["username"])


def test_an_address_is_found_however_it_is_written(http: httpx2.Client) -> None:
    created = http.post(USER, json=store_user(email="a+b@Example.com")).json()
    for written in ("a+b@example.com", "a%2Bb%40example.com", "A+B@EXAMPLE.COM", "%61+b@example%2Ecom"):
        answer = http.get(f"{USER}/{written}")
        assert (answer.status_code, answer.json()) == (200, {"id": created["id"]}), written
    for written in ("a%20b@example.com", "a%2520b@example.com", "%@example.com", "a%2Bb", "b@example.com", "%25",
                    "a+b@example.com%00", "x" * 10_000, quote("ä" * 3_000), "a%2Fb@example.com"):  # fmt: skip
        answer = http.get(f"{USER}/{written}")
        assert answer.status_code == 404, written
    answer = http.get(f"{USER}/nobody@example.com")
    assert answer.json()["detail"] == "User with given email not found"
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("local", ["o'neil", "a/b", "100%25", "zoë", "a.b-c_d", "a{b}", "#x"])
def test_any_valid_address_is_found(shared: httpx2.Client, local: str) -> None:
    email = f"{local}@example.com"
    created = shared.post(USER, json=store_user(email=email))
    assert created.status_code == 201, created.text
    assert shared.get(f"{USER}/{quote(email, safe='')}").json() == {"id": created.json()["id"]}


def test_only_this_store_s_users_are_found(product: Product, http: httpx2.Client) -> None:
    body = store_user()
    created = http.post(USER, json=body).json()
    with client_of(product) as other:
        assert other.get(f"{USER}/{body['email']}").status_code == 404
        assert other.patch(USER, json={"email": body["email"], "first_name": "x"}).status_code == 404
        assert other.post(USER, json=body).json()["id"] != created["id"]


@pytest.mark.parametrize("phone", [0, 7, 999_999_999_999_999, "0", "007", "004915112345678", "491511234567890"])
def test_a_phone_is_returned_as_it_was_sent(shared: httpx2.Client, phone: int | str) -> None:
    answer = shared.post(USER, json=store_user(phone=phone))
    assert answer.status_code == 201, answer.text
    assert answer.json()["phone"] == phone
    assert type(answer.json()["phone"]) is type(phone)


@pytest.mark.parametrize(
    "phone",
    [-1, 10**15, 1.5, 1e3, True, None, "", " 7", "+49151", "0" * 16, "\u0660\u0667", "7\n", [7], {"n": 7}],
    ids=range(14),
)
def test_what_is_no_phone_is_refused(shared: httpx2.Client, phone: object) -> None:
    assert refused_fields(shared.post(USER, json=store_user(phone=phone))) == ["phone"]
    assert refused_fields(shared.patch(USER, json={"username": "u", "phone": phone})) == ["phone"]


@pytest.mark.parametrize("name", ["email", "username", "first_name", "last_name", "phone"])
@pytest.mark.parametrize("value", [None, "", "\u200b", "a\u0000b", "n" * 10_000, ["x"]], ids=range(6))
def test_every_field_is_checked(shared: httpx2.Client, name: str, value: object) -> None:
    body = store_user()
    assert refused_fields(shared.post(USER, json=body | {name: value})) == [name]
    assert name in refused_fields(shared.patch(USER, json={"username": "u", name: value}))
    del body[name]
    assert refused_fields(shared.post(USER, json=body)) == [name]


def test_two_families_have_the_same_people(http: httpx2.Client) -> None:
    plain, full = user(), store_user()
    first = http.post(USERS, json=plain).json()
    second = http.post(USER, json=full).json()
    assert [each["id"] for each in http.get(USERS).json()] == [first["id"], second["id"]]
    assert http.get(USERS).json()[1] == {name: second[name] for name in ("id", "username", "email")}
    for body, sentence in (
        (store_user(email=str(plain["email"]).lower()), "Email already registered"),
        (store_user(username=str(plain["username"]).upper()), "Username already taken"),
    ):
        answer = http.post(USER, json=body)
        assert (answer.status_code, answer.json()["detail"]) == (409, sentence)
    assert http.patch(USER, json={"email": plain["email"], "phone": "0049"}).status_code == 201


def test_a_change_finds_by_the_address_or_else_by_the_name(http: httpx2.Client) -> None:
    ana, bob = store_user(email="ana@example.com", username="ana"), store_user(email="bob@example.com", username="bob")
    ids = [http.post(USER, json=body).json()["id"] for body in (ana, bob)]

    def change(**fields: object) -> httpx2.Response:
        return http.patch(USER, json=fields)

    # By the address: the name is what changes.
    assert change(email="ANA@example.com", username="anna").status_code == 201
    assert http.get(f"{USERS}/{ids[0]}").json()["username"] == "anna"
    # Nobody has the address: the name finds, and the address changes.
    assert change(email="anna@example.org", username="ANNA").status_code == 201
    assert http.get(f"{USER}/anna@example.org").json() == {"id": ids[0]}
    assert http.get(f"{USER}/ana@example.com").status_code == 404
    # Both belong to one.
    assert change(email="bob@example.com", username="bob", last_name="B").status_code == 201
    # They belong to two.
    answer = change(email="bob@example.com", username="Anna")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert [http.get(f"{USERS}/{each}").json()["username"] for each in ids] == ["ANNA", "bob"]
    # To nobody.
    answer = change(email="nobody@example.com", username="nobody")
    assert (answer.status_code, answer.json()["detail"]) == (404, "User with given email not found")
    for fields in ({}, {"first_name": "x"}):
        assert refused_fields(change(**fields)) == ["email"]


def test_a_repeat_gets_the_first_answer(http: httpx2.Client) -> None:
    body, key = store_user(phone="007"), {"Idempotency-Key": "k"}
    first = http.post(USER, json=body, headers=key)
    again = http.post(USER, json=body, headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    # A number is another phone than a string.
    assert http.post(USER, json=body | {"phone": 7}, headers=key).status_code == 409


@pytest.mark.parametrize(("scope", "allowed"), [("read", "GET"), ("ingest", "POST"), ("manage", None)])
def test_each_scope_does_its_own(product: Product, scope: str, allowed: str | None) -> None:
    with client_of(product, scope) as client:
        assert client.get(f"{USER}/a@example.com").status_code == (404 if allowed == "GET" else 403)
        assert client.post(USER, json=store_user()).status_code == (201 if allowed == "POST" else 403)
        changed = client.patch(USER, json={"email": "nobody@example.com"})
        assert changed.status_code == (404 if allowed == "POST" else 403)
    assert httpx2.get(f"{product.public_url}{USER}/a@example.com", trust_env=False).status_code == 401


def test_a_project_s_token_does_what_its_key_may_and_an_account_s_nothing(product: Product) -> None:
    with client_of(product, "read") as client:
        token = client.post("/api/auth", json={"api_key": client.headers["X-API-Key"]}).json()["access_token"]
    account = new_email()
    with httpx2.Client(base_url=product.public_url, headers=bearer(token), timeout=20, trust_env=False) as client:
        assert client.get(USERS).json() == []
        assert client.get(f"{USER}/a@example.com").status_code == 404
        for answer in (client.post(USER, json=store_user()), client.post(USERS, json=user())):
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        assert register(client, account).status_code == 201
        of_account = bearer(login(client, account).json()["access_token"])
        for path in (USERS, f"{USER}/a@example.com"):
            answer = client.get(path, headers=of_account)
            assert (answer.status_code, answer.json()["code"]) == (403, "needs-project-credential")
