"""What a client is told of an erasure, of the product as it is delivered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import httpx2
import pytest

from contract.access import Scope
from device_registration_api.personal.blind_index import IndexedField
from tests.access.key_commands import connected, create_key, create_project
from tests.database import rows
from tests.erasure.people import people_of
from tests.servers import Product, StartProduct

if TYPE_CHECKING:
    from tests.personal_databases import PersonalDatabases

PROBLEM = "application/problem+json"
DELETED = "User successfully deleted"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Product:
    """Personal data is configured."""
    return product_with_accounts


@pytest.fixture(scope="module")
def keys(product: Product) -> dict[str, str]:
    """A key of the default project for each scope, and one of another project that may do everything."""
    with connected(product.database) as conn:
        other = create_project(conn, "other")
        return {scope: create_key(conn, "default", [scope], expires_at=None) for scope in Scope} | {
            "other": create_key(conn, other, list(Scope), expires_at=None)
        }


@pytest.fixture
def person(product: Product, personal_databases: PersonalDatabases) -> UUID:
    """A new person of the default project."""
    with people_of(personal_databases) as people:
        found = asyncio.run(people.create(1, {"email": f"{uuid4()}@example.org"}, [IndexedField.EMAIL], 10.0))
    statement = "INSERT INTO project_person (project_id, person_id) VALUES (1, %(person)s)"
    rows(product.database, statement, {"person": str(found)})
    return found


def ask(public: httpx2.Client, method: str, path: str, key: str | None) -> httpx2.Response:
    return public.request(method, path, headers={} if key is None else {"X-API-Key": key})


def stored(personal_databases: PersonalDatabases, person: UUID) -> int:
    [(count,)] = personal_databases.rows("SELECT count(*) FROM person WHERE person_id = %(id)s", {"id": str(person)})
    return int(count)


def test_a_store_deletes_a_user_and_reads_the_receipt(
    public: httpx2.Client, keys: dict[str, str], person: UUID, personal_databases: PersonalDatabases
) -> None:
    answers = [ask(public, "DELETE", path, keys["manage"]) for path in (f"/api/user/{person}", f"/api/user/{person}/")]
    assert [each.status_code for each in answers] == [200, 200]
    first, second = (each.json() for each in answers)
    assert first == second
    assert {**first, "receipt": ""} == {
        "message": DELETED,
        "user": DELETED,
        "events": "0 events were deleted",
        "receipt": "",
    }
    progress = ask(public, "GET", f"/api/erasure/{first['receipt']}", keys["manage"])
    assert progress.status_code == 200
    body = progress.json()
    assert (body.pop("state"), body.pop("users"), body.pop("events")) == ("finished", 1, 0)
    assert body.keys() == {"requested_at", "finished_at"}
    assert stored(personal_databases, person) == 0


def test_family_2_deletes_the_same_person(
    public: httpx2.Client, keys: dict[str, str], person: UUID, personal_databases: PersonalDatabases
) -> None:
    answer = ask(public, "DELETE", f"/api/v1/users/{person}", keys["manage"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert stored(personal_databases, person) == 0
    assert ask(public, "DELETE", f"/api/user/{person}", keys["manage"]).json()["message"] == DELETED


def test_who_may_not_is_refused_and_erases_nobody(
    public: httpx2.Client, keys: dict[str, str], person: UUID, personal_databases: PersonalDatabases
) -> None:
    for path in (f"/api/user/{person}", f"/api/v1/users/{person}"):
        for key, status in ((None, 401), ("read", 403), ("ingest", 403), ("other", 404)):
            answer = ask(public, "DELETE", path, key and keys[key])
            assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), answer.text
    assert stored(personal_databases, person) == 1
    receipt = ask(public, "DELETE", f"/api/user/{person}", keys["manage"]).json()["receipt"]
    for key, status in ((None, 401), ("read", 403), ("other", 404)):
        assert ask(public, "GET", f"/api/erasure/{receipt}", key and keys[key]).status_code == status


@pytest.mark.parametrize("name", ["stranger", "me", "0", "%00", "a%2Fb", "{}"])
def test_nobody_of_that_name_is_a_404(public: httpx2.Client, keys: dict[str, str], name: str) -> None:
    name = str(uuid4()) if name == "stranger" else name
    for method, path in (("DELETE", "/api/user"), ("DELETE", "/api/v1/users"), ("GET", "/api/erasure")):
        assert ask(public, method, f"{path}/{name}", keys["manage"]).status_code == 404


def test_without_personal_data_it_is_not_configured(start_product: StartProduct) -> None:
    product = start_product()
    with connected(product.database) as conn:
        key = create_key(conn, "default", [Scope.MANAGE], expires_at=None)
    answer = httpx2.delete(f"{product.public_url}/api/user/{uuid4()}", headers={"X-API-Key": key}, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (503, "not-configured")
