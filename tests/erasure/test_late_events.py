"""Events of a person who is erased, suppressed, or stays without them; and nothing readable is left anywhere."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx2
import pytest
from psycopg2.extensions import parse_dsn

from contract.access import Scope
from device_registration_api.personal.blind_index import IndexedField
from local.database import base_environment
from tests.access.key_commands import connected, create_key, create_project
from tests.database import assert_counts_are_exact, rows
from tests.erasure.people import people_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.personal_databases import PersonalDatabases
    from tests.servers import Product

WRITERS = 8
MARKER = "marker-of-an-erased-person"


@pytest.fixture(scope="module")
def product(product_with_accounts: Product) -> Iterator[Product]:
    """Personal data is configured. After the tests, every count is exact."""
    yield product_with_accounts
    assert_counts_are_exact(product_with_accounts)


class Store:
    """A new store, and a client that may do everything in it."""

    def __init__(self, product: Product, databases: PersonalDatabases) -> None:
        self.product = product
        self.databases = databases
        with connected(product.database) as conn:
            project = create_project(conn, "shop")
            key = create_key(conn, project, list(Scope), expires_at=None)
        statement = "SELECT project_id FROM project WHERE project_key = %(key)s"
        [(self.number,)] = rows(product.database, statement, {"key": project})
        self.http = httpx2.Client(base_url=product.public_url, headers={"X-API-Key": key}, timeout=20, trust_env=False)

    def user(self, **fields: str) -> str:
        fields = {"email": f"{uuid4()}@example.org"} | fields
        with people_of(self.databases) as people:
            found = asyncio.run(people.create(self.number, fields, [IndexedField.EMAIL], 10.0))
        statement = "INSERT INTO project_person (project_id, person_id) VALUES (%(store)s, %(person)s)"
        rows(self.product.database, statement, {"store": self.number, "person": str(found)})
        return str(found)

    def send(self, user: str, type_: str = "visit", **more: object) -> httpx2.Response:
        return self.http.post("/api/event", json={"type": type_, "user_id": user, "data": {}} | more)

    def figures(self) -> list[Any]:
        paths = ("amount/visit", "amount/order", "avg-time/visit", "users", "users?type=visit")
        return [self.http.get(f"/api/event/{path}").raise_for_status().json() for path in paths]


@pytest.fixture
def store(product: Product, personal_databases: PersonalDatabases) -> Iterator[Store]:
    made = Store(product, personal_databases)
    yield made
    made.http.close()


def test_every_event_is_either_erased_or_refused_while_eight_write(store: Store) -> None:
    gone, kept = store.user(), store.user()
    refused = threading.Event()

    def write(number: int) -> list[int]:
        statuses: list[int] = []
        while statuses[-2:] != [HTTPStatus.GONE] * 2 and len(statuses) < 2_000:
            statuses.append(store.send(gone, "visit" if number % 2 else "order").status_code)
            store.send(kept)
            if len(statuses) > 3:
                refused.set()
        return statuses

    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(write, number) for number in range(WRITERS)]
        assert refused.wait(60)
        answer = store.http.delete(f"/api/user/{gone}")
        statuses = [writer.result() for writer in writers]

    assert answer.status_code == 200
    recorded = sum(each.count(201) for each in statuses)
    for each in statuses:
        assert each == [201] * each.count(201) + [410] * 2
    receipt = store.http.get(f"/api/erasure/{answer.json()['receipt']}").json()
    assert (receipt["state"], receipt["users"], receipt["events"]) == ("finished", 1, recorded)
    late = store.send(gone)
    assert (late.status_code, late.json()["code"]) == (410, "gone")
    assert_counts_are_exact(store.product)
    amounts = [sum(day["event_amount"] for day in each) for each in store.figures()[:2]]
    of_kept = rows(store.product.database, "SELECT count(*) FROM store_event WHERE person_id = %(id)s", {"id": kept})
    assert sum(amounts) == recorded + of_kept[0][0]
    gone_rows = rows(store.product.database, "SELECT count(*) FROM store_event WHERE person_id = %(id)s", {"id": gone})
    assert gone_rows == [(0,)]


def test_no_figure_moves_when_a_user_or_the_events_leave(store: Store) -> None:
    users = [store.user() for _ in range(3)]
    for user in users:
        for type_ in ("visit", "order", "visit"):
            assert store.send(user, type_).status_code == 201
    before = store.figures()
    assert before[3]["distinct"] == 3

    deleted = store.http.delete(f"/api/event/{users[0]}")
    assert (deleted.status_code, deleted.json()) == (200, {"message": "3 events were deleted"})
    assert store.http.delete(f"/api/event/{users[0]}").json() == {"message": "0 events were deleted"}
    assert store.figures() == before
    erased = store.http.delete(f"/api/user/{users[1]}").json()
    assert erased["events"] == "3 events were deleted"
    assert store.figures() == before
    assert store.send(users[0]).status_code == 201  # who stays may come again, and is no new user
    assert store.figures()[3] == before[3]
    for path in (f"/api/event/{users[1]}", f"/api/user/{users[1]}/suppress"):
        answer = store.http.request("DELETE" if "event" in path else "POST", path)
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")


def test_a_suppressed_user_keeps_the_past_and_records_nothing(store: Store) -> None:
    user = store.user()
    assert store.send(user).status_code == 201
    before = store.figures()
    for _ in range(2):
        answer = store.http.post(f"/api/user/{user}/suppress")
        assert (answer.status_code, answer.json()) == (201, {"message": "User successfully suppressed"})
    refused = store.send(user)
    assert (refused.status_code, refused.json()["code"]) == (410, "suppressed")
    batch = store.http.post("/api/event/batch", json=[{"type": "visit", "user_id": user, "data": {}}]).json()
    assert (batch["registered"], batch["rejected"]) == (0, 1)
    assert store.figures() == before
    for _ in range(2):
        answer = store.http.post(f"/api/user/{user}/unsuppress/")
        assert (answer.status_code, answer.json()) == (201, {"message": "User successfully unsuppressed"})
    assert store.send(user).status_code == 201


def test_who_may_not_and_who_is_not_there(store: Store, product: Product) -> None:
    user = store.user()
    with connected(product.database) as conn:
        other = create_key(conn, create_project(conn, "other"), list(Scope), expires_at=None)
        writer = create_key(conn, "default", [Scope.INGEST, Scope.READ], expires_at=None)
    for method, path in (
        ("POST", f"/api/user/{user}/suppress"),
        ("POST", f"/api/user/{user}/unsuppress"),
        ("DELETE", f"/api/event/{user}"),
        ("GET", f"/api/user/{user}/export"),
    ):
        assert store.http.request(method, path, headers={"X-API-Key": other}).status_code == 404
        assert store.http.request(method, path, headers={"X-API-Key": writer}).status_code == 403
        assert store.http.request(method, path.replace(user, str(uuid4()))).status_code == 404
        assert store.http.request(method, path.replace(user, "nobody")).status_code == 404
        assert httpx2.request(method, store.product.public_url + path, trust_env=False).status_code == 401


def dumped(product: Product, databases: PersonalDatabases) -> str:
    """Every row of the three databases."""
    cluster = databases.cluster
    urls = (product.database.admin_url, cluster.admin_url(databases.personal), cluster.admin_url(databases.keyring))
    texts = [
        subprocess.run(
            [cluster.binaries / "pg_dump", "--data-only", "-h", target["host"], "-p", target["port"],
             "-U", target["user"], target["dbname"]],
            env={**base_environment(), "PGPASSWORD": target["password"]},
            capture_output=True, text=True, check=True,
        ).stdout
        for target in map(parse_dsn, urls)
    ]  # fmt: skip
    return "".join(texts)


def test_nothing_of_an_erased_person_is_in_a_dump_or_in_a_log(
    store: Store, product: Product, personal_databases: PersonalDatabases
) -> None:
    user = store.user(email=f"{MARKER}@example.org", username=MARKER)
    assert store.send(user, data={"of": MARKER}).status_code == 201
    exported = store.http.get(f"/api/user/{user}/export")
    assert exported.status_code == 200, exported.text
    assert exported.text.count(MARKER) == 3
    assert MARKER in dumped(product, personal_databases)  # in an event, as the client sent it

    assert store.http.delete(f"/api/user/{user}").status_code == 200

    assert MARKER not in dumped(product, personal_databases)
    logs = [each.log for each in (*product.publics, *product.privates)]
    assert all(log is not None and MARKER not in log.read_text() for log in logs)
    assert store.http.get(f"/api/user/{user}/export").status_code == 404


def test_everything_that_is_held_about_a_user_is_exported(store: Store) -> None:
    user, other = store.user(email="ann@example.org", username="ann"), store.user()
    empty = store.http.get(f"/api/user/{other}/export").raise_for_status().json()
    assert (empty["devices"], empty["events"]["store_events"], empty["suppressed_at"]) == ([], [], None)
    statement = "INSERT INTO device (project_id, device_id, name, person_id) VALUES (%(store)s, 'd-1', 'Hall', %(id)s)"
    rows(store.product.database, statement, {"store": store.number, "id": user})
    # Several pages.
    sent = [{"type": "visit", "user_id": user, "data": {"number": number}} for number in range(450)]
    assert store.http.post("/api/event/batch", json=sent).json()["registered"] == 450
    assert store.send(user, "order", data={"number": 450}).status_code == 201
    store.http.post(f"/api/user/{user}/suppress").raise_for_status()

    answer = store.http.get(f"/api/user/{user}/export").raise_for_status()
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["user"]["id"], document["user"]["email"]) == (user, "ann@example.org")
    assert [(each["device_id"], each["name"]) for each in document["devices"]] == [("d-1", "Hall")]
    assert document["suppressed_at"] > document["created_at"]
    events = document["events"]["store_events"]
    assert [each["data"]["number"] for each in events] == list(range(451))
    assert {each["user_id"] for each in events} == {user}
    assert events[-1]["type"] == "order"
