"""What the creation of a person leaves in the databases."""

from contextlib import closing
from datetime import timedelta

import httpx2
import psycopg2

from device_registration_api.people import commands
from servicekit.process import clock
from tests.accounts.test_away import away
from tests.database import rows
from tests.people.conftest import USERS, user
from tests.personal_databases import PersonalDatabases
from tests.servers import Product

KEYS = "SELECT count(*)::int FROM creation_key WHERE person_id = %(id)s::uuid"
AGE = "UPDATE creation_key SET created_at = now() - interval '48 hours' WHERE person_id = %(id)s::uuid"
IDS = "SELECT count(*)::int FROM project_person"


def test_an_id_is_stored_with_the_person_and_not_with_a_conflict(product: Product, http: httpx2.Client) -> None:
    [(before,)] = rows(product.database, IDS)
    body = user()
    created = http.post(USERS, json=body).json()
    assert [http.post(USERS, json=body).status_code for _ in range(3)] == [409] * 3
    assert http.post(USERS, json=user(email="no address")).status_code == 422
    assert rows(product.database, IDS) == [(before + 1,)]
    assert rows(
        product.database,
        "SELECT suppressed_at, erased_at FROM project_person WHERE person_id = %(id)s::uuid",
        {"id": created["id"]},
    ) == [(None, None)]


def test_an_id_comes_before_the_person(
    product: Product, http: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    [(before,)] = rows(product.database, IDS)
    with away(personal_databases, personal_databases.keyring):
        assert http.post(USERS, json=user()).status_code == 503
    assert rows(product.database, IDS) == [(before + 1,)]
    assert http.get(USERS).json() == []


def test_a_key_is_forgotten_after_two_days_and_with_its_person(
    http: httpx2.Client, personal_databases: PersonalDatabases
) -> None:
    headers = {"Idempotency-Key": "old"}
    first = http.post(USERS, json=user(), headers=headers).json()
    personal_databases.rows(AGE, {"id": first["id"]})
    second = http.post(USERS, json=user(), headers=headers)
    assert second.status_code == 201
    assert "idempotent-replayed" not in second.headers
    third = http.post(USERS, json=user(), headers={"Idempotency-Key": "third"}).json()

    personal_databases.rows(AGE, {"id": second.json()["id"]})
    url = personal_databases.cluster.admin_url(personal_databases.personal)
    with closing(psycopg2.connect(url)) as conn, conn:
        commands.delete_old_keys(conn, clock.now() + timedelta(seconds=1))
    assert personal_databases.rows(KEYS, {"id": second.json()["id"]}) == [(0,)]
    assert personal_databases.rows(KEYS, {"id": third["id"]}) == [(1,)]
    personal_databases.rows("DELETE FROM person WHERE person_id = %(id)s::uuid", {"id": third["id"]})
    assert personal_databases.rows(KEYS, {"id": third["id"]}) == [(0,)]
