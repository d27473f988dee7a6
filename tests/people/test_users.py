"""Users of a project (family 2), through both services."""

import asyncio
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx2
import pytest

from tests.database import rows
from tests.people.conftest import USERS, client_of, new_email, refused_fields, user
from tests.personal_databases import PersonalDatabases
from tests.servers import Product


def create(http: httpx2.Client, body: object, **headers: str) -> httpx2.Response:
    return http.post(f"{USERS}/", json=body, headers=headers)


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_user_is_created_read_listed_and_changed(http: httpx2.Client, slash: str) -> None:
    body = user()
    created = http.post(f"{USERS}{slash}", json=body | {"unread": {"deep": [None]}})
    assert created.status_code == 201, created.text
    assert created.headers["cache-control"] == "no-store"
    stored = created.json()
    assert stored == {"id": str(UUID(stored["id"])), **body}

    path = f"{USERS}/{stored['id']}{slash}"
    assert http.get(path).json() == stored | {"devices": []}
    assert http.get(f"{USERS}{slash}").json() == [stored]
    changed = http.put(path, json={"username": "Ana-2"})
    assert (changed.status_code, changed.json()) == (200, stored | {"username": "Ana-2"})
    email = new_email()
    assert http.put(path, json={"email": email}).json() == stored | {"username": "Ana-2", "email": email}
    assert http.put(path, json={}).json() == http.get(f"{USERS}{slash}").json()[0]


def test_a_user_has_the_devices_of_that_user(product: Product, http: httpx2.Client) -> None:
    created = create(http, user()).json()
    [(project_id,)] = rows(
        product.database,
        "SELECT project_id FROM project_person WHERE person_id = %(id)s::uuid",
        {"id": created["id"]},
    )
    own = {"project_id": project_id, "id": created["id"]}
    add = "INSERT INTO device (project_id, device_id, name, person_id) VALUES (%(project_id)s, {}, {}, {})"
    rows(product.database, add.format("'b'", "'Boiler'", "%(id)s"), own)
    rows(product.database, add.format("'a'", "NULL", "%(id)s"), own)
    rows(product.database, add.format("'nobody''s'", "NULL", "NULL"), own)
    rows(product.database, add.format("'b'", "NULL", "%(id)s"), own | {"project_id": project_id + 1_000_000})
    devices = http.get(f"{USERS}/{created['id']}").json()["devices"]
    assert [{**each, "id": None} for each in devices] == [
        {"id": None, "device_id": "b", "name": "Boiler", "user_id": created["id"]},
        {"id": None, "device_id": "a", "name": None, "user_id": created["id"]},
    ]


def test_an_address_or_a_name_in_another_case_is_taken(http: httpx2.Client) -> None:
    body = user(email="Ana@Example.com", username="Straße")
    assert create(http, body).status_code == 201
    for other, sentence in (
        (user(email="ana@example.COM"), "Email already registered"),
        (user(email=" ana@example.COM "), "Email already registered"),
        (user(username="STRASSE"), "Username already taken"),
        (body, "Email already registered"),
    ):
        answer = create(http, other)
        assert (answer.status_code, answer.json()["detail"]) == (409, sentence)
        assert answer.json()["code"] == "conflict"
    other = create(http, user()).json()
    assert http.put(f"{USERS}/{other['id']}", json={"email": "ANA@example.com"}).status_code == 409
    assert http.put(f"{USERS}/{other['id']}", json={"username": "strasse"}).json()["detail"] == "Username already taken"
    # Its own address in another case is no conflict.
    own = http.put(f"{USERS}/{other['id']}", json={"email": str(other["email"]).upper()})
    assert own.json()["email"] == str(other["email"]).upper()


async def test_of_twenty_at_once_in_different_case_one_is_created(
    product: Product, http: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    def spelt(number: int) -> str:
        return "".join(each.upper() if number >> place & 1 else each for place, each in enumerate("twenty@example.com"))

    bodies = [user(email=spelt(number)) for number in range(20)]
    async with httpx2.AsyncClient(
        base_url=product.public_url, headers=http.headers, timeout=20, trust_env=False
    ) as client:
        answers = await asyncio.gather(*(client.post(USERS, json=body) for body in bodies))
    assert sorted(each.status_code for each in answers) == [201] + [409] * 19
    [created] = http.get(USERS).json()
    [winner] = [each.json() for each in answers if each.status_code == 201]
    assert created == winner
    assert personal_databases.rows(
        "SELECT count(*)::int FROM person WHERE person_id = %(id)s::uuid", {"id": winner["id"]}
    ) == [(1,)]


def test_the_list_has_one_order_and_pages_of_at_most_a_hundred(http: httpx2.Client) -> None:
    ids = [create(http, user()).json()["id"] for _ in range(5)]
    assert [each["id"] for each in http.get(USERS).json()] == ids
    pages = [http.get(USERS, params={"skip": skip, "limit": 2}).json() for skip in (0, 2, 4, 6)]
    assert [[each["id"] for each in page] for page in pages] == [ids[:2], ids[2:4], ids[4:], []]
    assert http.get(USERS, params={"limit": 100}).status_code == 200
    for parameters, name in (
        ({"limit": "101"}, "limit"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1.5"}, "limit"),
        ({"skip": "-1"}, "skip"),
        ({"skip": "9" * 30}, "skip"),
        ({"skip": "٣"}, "skip"),
        ({"page": "1"}, "page"),
    ):
        assert refused_fields(http.get(USERS, params=parameters)) == [name]
    assert refused_fields(http.get(f"{USERS}?skip=0&skip=1")) == ["skip"]


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"email": "ana.example.com"}, "email"),
        ({"email": "ana@"}, "email"),
        ({"email": "ana@@example.com"}, "email"),
        ({"email": "a@b@example.com"}, "email"),
        ({"email": "Ana <ana@example.com>"}, "email"),
        ({"email": "ana@example.com,bob@example.com"}, "email"),
        ({"email": "ana\u0000@example.com"}, "email"),
        ({"email": "ana\r\n@example.com"}, "email"),
        ({"email": "ana@exa mple.com"}, "email"),
        ({"email": "a" * 10_000 + "@example.com"}, "email"),
        ({"email": ["ana@example.com"]}, "email"),
        ({"email": None}, "email"),
        ({"email": 7}, "email"),
        ({"username": "\u0000"}, "username"),
        ({"username": "\u200b\u2060"}, "username"),
        ({"username": "  "}, "username"),
        ({"username": "u" * 256}, "username"),
        ({"username": "u" * 10_000}, "username"),
        ({"username": {"$ne": ""}}, "username"),
        ({"username": True}, "username"),
        ({"username": None}, "username"),
    ],
    ids=range(21),
)
def test_what_is_no_user_is_refused_and_changes_nobody(
    shared: httpx2.Client, known: dict[str, str], fields: dict[str, object], refused: str
) -> None:
    before = shared.get(USERS).json()
    assert refused_fields(create(shared, user() | fields)) == [refused]
    assert refused_fields(shared.put(f"{USERS}/{known['id']}", json=fields)) == [refused]
    assert shared.get(USERS).json() == before


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"null", b'"x"', b'{"username":"a"}', b"\xff"], ids=repr)
def test_a_body_that_is_no_user_is_a_422(shared: httpx2.Client, content: bytes) -> None:
    answer = shared.post(USERS, content=content, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), answer.text


@pytest.mark.parametrize(
    "user_id",
    [str(uuid4()), "0", "1", "-1", "9" * 255, "9" * 300, "null", "ana@example.com", "a%2Fb", "%", "%00", "x" * 10_000,
     "{00000000-0000-4000-8000-000000000000}", "%F0%9F%98%80"],
    ids=range(14),
)  # fmt: skip
def test_an_unknown_id_is_a_404(shared: httpx2.Client, user_id: str) -> None:
    for answer in (shared.get(f"{USERS}/{user_id}"), shared.put(f"{USERS}/{user_id}", json={"username": "x"})):
        assert answer.status_code == 404, answer.text
        if "%" not in user_id:
            assert answer.json()["detail"] == "User not found"


def test_an_id_in_capitals_is_the_same_id(shared: httpx2.Client, known: dict[str, str]) -> None:
    assert shared.get(f"{USERS}/{known['id'].upper()}").json()["id"] == known["id"]


def test_an_imported_user_answers_to_the_old_number(
    shared: httpx2.Client, known: dict[str, str], personal_databases: PersonalDatabases
) -> None:
    personal_databases.rows(
        "UPDATE person SET imported_id = '4711' WHERE person_id = %(id)s::uuid", {"id": known["id"]}
    )
    assert shared.get(f"{USERS}/4711").json() == shared.get(f"{USERS}/{known['id']}").json()
    assert shared.put(f"{USERS}/4711", json={}).json()["id"] == known["id"]
    assert shared.get(f"{USERS}/04711").status_code == 404


def test_a_user_of_another_project_is_a_404(product: Product, shared: httpx2.Client, known: dict[str, str]) -> None:
    with client_of(product) as other:
        assert other.get(f"{USERS}/{known['id']}").status_code == 404
        assert other.put(f"{USERS}/{known['id']}", json={"username": "x"}).status_code == 404
        assert other.get(USERS).json() == []
        body = {name: known[name] for name in ("username", "email")}
        assert create(other, body).status_code == 201  # what is taken there is free here
    assert shared.get(f"{USERS}/{known['id']}").json()["username"] == known["username"]


def test_me_is_the_account(shared: httpx2.Client) -> None:
    assert shared.get(f"{USERS}/me").json()["code"] == "needs-account-token"
    assert shared.put(f"{USERS}/me", json={}).status_code == 404


@pytest.mark.parametrize(("scope", "allowed"), [("manage", "GET"), ("ingest", "POST"), ("read", None)])
def test_each_scope_does_its_own(product: Product, scope: str, allowed: str | None) -> None:
    with client_of(product, scope) as client:
        for method, path, done in (("GET", USERS, 200), ("POST", USERS, 201)):
            answer = client.request(method, path, json=user() if method == "POST" else None)
            assert answer.status_code == (done if method == allowed else 403)


def test_a_repeat_gets_the_first_answer_and_stores_nothing(http: httpx2.Client) -> None:
    body, key = user(), {"Idempotency-Key": "first"}
    first = create(http, body, **key)
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    assert http.put(f"{USERS}/{first.json()['id']}", json=user()).status_code == 200

    again = create(http, {"email": body["email"], "unread": 1, "username": body["username"]}, **key)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert again.json() == first.json()
    other = create(http, user(), **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency-key-reused")
    assert len(http.get(USERS).json()) == 1
    assert create(http, user(), **{"Idempotency-Key": "second"}).status_code == 201
    assert refused_fields(create(http, user(), **{"Idempotency-Key": "k" * 256})) == ["Idempotency-Key"]


async def test_the_same_request_many_times_at_once_creates_one(product: Product, http: httpx2.Client) -> None:
    body = user()
    headers = {**http.headers, "Idempotency-Key": "at-once"}
    async with httpx2.AsyncClient(base_url=product.public_url, headers=headers, timeout=20, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post(USERS, json=body) for _ in range(8)))
    assert {each.status_code for each in answers} == {201}
    assert len({each.json()["id"] for each in answers}) == 1
    assert len(http.get(USERS).json()) == 1


def test_a_key_of_another_project_is_another_key(product: Product, http: httpx2.Client) -> None:
    body = user()
    create(http, body, **{"Idempotency-Key": "shared"})
    with client_of(product) as other:
        answer = create(other, body, **{"Idempotency-Key": "shared"})
        assert answer.status_code == 201
        assert "idempotent-replayed" not in answer.headers


@pytest.fixture(scope="module")
def shared(product: Product) -> Iterator[httpx2.Client]:
    """A project with one user, which the tests that change nothing share."""
    with client_of(product) as client:
        yield client


@pytest.fixture(scope="module")
def known(shared: httpx2.Client) -> dict[str, str]:
    """That user."""
    created: dict[str, str] = create(shared, user()).json()
    return created
