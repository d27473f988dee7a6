"""What the store services kept is imported: keys go on, users are found, every event has a person."""

from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from load.old_systems import STORES_EVENTS, STORES_GATEWAY, STORES_USERS
from tests.database import rows
from tests.imports.old_systems import FOR_EVER, insert, old_database
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, StartProduct, finished_command, run_command

SYSTEM = ("import", "--from", "store-user-statistics")
ANA = "0190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55"
OTHER = "1190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55"
KEYS = ("plain-key", "a.key.with.dots", "key with blank")


@pytest.fixture(scope="module")
def old(cluster: Cluster) -> Iterator[list[str]]:
    """The three databases of that system."""
    with ExitStack() as undo:
        tables = (STORES_GATEWAY, STORES_USERS, STORES_EVENTS)
        gateway, users, events = (undo.enter_context(old_database(cluster, each)) for each in tables)
        insert(
            gateway,
            "INSERT INTO consumers (id, name, is_active, is_admin) VALUES %s",
            [(1, "Лавка", True, False), (2, None, None, True), (3, "n" * 150, False, False)],
        )
        insert(
            gateway,
            "INSERT INTO api_keys VALUES %s",
            [(KEYS[0], 1), (KEYS[1], 3), (KEYS[2], 1), ("of", None)],
        )
        insert(
            users,
            'INSERT INTO "user" VALUES %s',
            [
                (ANA, "ana", "Ana@example.com", "Ана", "", 491511234, 1),
                (OTHER, "ANA", None, None, None, None, 1),
                ("2190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55", "ana", "Ana@example.com", "Ana", "Test", None, 2),
                ("3190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55", None, None, None, None, None, 1),
                ("4190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55", "x", "no address", None, None, None, 1),
                ("5190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55", "y", "y@example.com", None, None, -7, 1),
                ("6190a6f2-7c1e-4d3a-9b7e-2f4c8d1e6a55", "z", "z@example.com", None, None, None, 9),
            ],
        )
        insert(
            events,
            "INSERT INTO events (type, store_id, user_id, created_at, data) VALUES %s",
            [
                ("purchase", 1, ANA.upper(), "2024-05-01 23:59:59", '{"b": 1.50, "a": {"ж": [1e2]}, "b": 2}'),
                ("purchase", 1, OTHER, "2024-05-01 10:00:00", "{}"),
                ("purchase", 1, "customer 7", "2024-05-02 10:00:00", None),
                ("purchase", 1, "7", "2024-05-02 10:00:00", "{}"),
                ("purchase", 1, "7", "2024-05-02 10:00:00", "{}"),
                (" view ", 3, "7", "2024-05-02 10:00:00", "{}"),
                (None, 1, ANA, "2024-05-02 10:00:00", "{}"),
                ("view", 1, None, "2024-05-02 10:00:00", "{}"),
                ("view", 1, ANA, None, "{}"),
                ("view", 9, ANA, "2024-05-02 10:00:00", "{}"),
                ("view", 1, ANA, "2024-05-02 10:00:00", "[1]"),
                ("view", 1, ANA, "2024-05-02 10:00:00", '{"a":' * 500 + "1" + "}" * 500),
                ("view", 1, ANA, "2024-05-02 10:00:00", '{"a": "\\u0000"}'),
            ],
        )
        yield [gateway, users, events]


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """Both services, with personal data."""
    return start_product(env=personal_databases.environment)


@pytest.fixture(scope="module")
def env(product: Product, personal_databases: PersonalDatabases) -> dict[str, str]:
    """What the command reads."""
    return product.database.writer_env | personal_databases.environment | FOR_EVER


@pytest.fixture(scope="module")
def printed(env: dict[str, str], old: list[str]) -> str:
    """The report of the first run, after one that stored nothing and said the same."""
    dry = run_command(env, *SYSTEM, "--dry-run", *old)
    real = run_command(env, *SYSTEM, *old)
    assert dry.removesuffix("nothing was stored: this was a dry run\n") == real
    return real


def test_every_row_is_accounted_for(printed: str, product: Product) -> None:
    for line in (
        "consumers: 3 rows = 3 registered + 0 duplicate + 0 refused",
        "1 stores were administrators",
        "api_keys: 4 rows = 2 registered + 0 duplicate + 2 refused",
        "user: 7 rows = 3 registered + 0 duplicate + 4 refused",
        "1 refused: another person has this user name",
        "events: 13 rows = 6 registered + 0 duplicate + 7 refused",
        "1 refused: user_id: missing",
        "1 refused: data: must not contain the character U+0000",
        # OTHER, whose name was taken, is one of them.
        "4 persons without a name were made",
    ):
        assert line in printed
    assert "no drift" in run_command(product.database.writer_env, "verify-counts")


def test_a_client_goes_on_with_its_key(printed: str, public: httpx2.Client) -> None:
    assert printed
    key = {"X-API-Key": KEYS[0]}
    assert public.get("/api/user/ANA@example.com", headers=key).json() == {"id": ANA}
    amounts = public.get("/api/event/amount/purchase", headers=key).json()
    assert [(each["date"], each["event_amount"]) for each in amounts] == [("2024-05-02", 3), ("2024-05-01", 2)]
    average = public.get("/api/event/avg-time/purchase", headers=key).json()
    assert average[0] == {"date": "2024-05-02", "event_avg_time": 1.5}
    token = public.post("/api/auth", json={"api_key": KEYS[0]}).raise_for_status().json()["access_token"]
    sent = public.post(
        "/api/event",
        json={"type": "new", "user_id": ANA, "data": {}},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (sent.status_code, sent.json()["user_id"]) == (201, ANA)
    exported = public.get(f"/api/user/{ANA}/export", headers=key).text
    assert "Ана" in exported
    assert "2024-05-01" in exported


def test_a_blocked_store_stays_so(printed: str, public: httpx2.Client) -> None:
    assert printed
    assert public.post("/api/auth", json={"api_key": KEYS[1]}).status_code == 403
    for key in (KEYS[2], "of"):
        assert public.post("/api/auth", json={"api_key": key}).status_code == 401


def test_a_person_without_a_name_can_be_erased(
    printed: str, public: httpx2.Client, env: dict[str, str], old: list[str], product: Product
) -> None:
    assert printed
    [(person,)] = rows(
        product.database,
        "SELECT DISTINCT person_id::text FROM store_event JOIN event_type USING (project_id, type_id) "
        "WHERE type = 'purchase' AND person_id = %(other)s",
        {"other": OTHER},
    )
    erased = public.delete(f"/api/user/{person}", headers={"X-API-Key": KEYS[0]})
    assert (erased.status_code, erased.json()["events"]) == (200, "1 events were deleted")
    again = run_command(env, *SYSTEM, *old)
    assert "1 refused: the person was erased here" in again
    assert rows(product.database, "SELECT count(*) FROM store_event WHERE person_id = %(id)s", {"id": person}) == [(0,)]
    assert "no drift" in run_command(product.database.writer_env, "verify-counts")


def test_a_second_run_finds_everything(printed: str, env: dict[str, str], old: list[str], product: Product) -> None:
    assert printed
    people = "SELECT count(*) FROM project_person"
    before = rows(product.database, people)
    again = run_command(env, *SYSTEM, *old)
    for line in (
        "consumers: 3 rows = 0 registered + 3",
        "api_keys: 4 rows = 0 registered + 2",
        "= 0 registered + 2 dup",
    ):
        assert line in again
    assert "persons without a name" not in again
    assert rows(product.database, people) == before


def test_a_database_that_is_left_out_is_named(env: dict[str, str], old: list[str]) -> None:
    ended = finished_command(env, *SYSTEM, *old[:2])
    assert ended.returncode == 1
    assert "of table events it lacks the table itself" in ended.stderr
