"""What statictics_service kept is imported: users answer to their old numbers, devices to their ids."""

from collections.abc import Iterator

import httpx2
import pytest

from load.old_systems import STATICTICS_SERVICE
from tests.database import rows
from tests.imports.old_systems import FOR_EVER, insert, old_database
from tests.personal_databases import PersonalDatabases
from tests.servers import Cluster, Product, StartProduct, run_command

SYSTEM = ("import", "--from", "statictics-service")


@pytest.fixture(scope="module")
def old(cluster: Cluster) -> Iterator[str]:
    """A database of that system, with what it lets in."""
    with old_database(cluster, STATICTICS_SERVICE) as url:
        insert(
            url,
            "INSERT INTO users (id, username, email) VALUES %s",
            [(7, "ана", "Ana@example.com"), (8, "\u200b", "blank@example.com"), (9, "ANA2", "ana@EXAMPLE.com")],
        )
        insert(
            url,
            "INSERT INTO devices (id, device_id, name, user_id) VALUES %s",
            [(1, "sensor/1", "Keller ☂", 7), (2, "spare", "", None), (3, "..", None, 7), (4, "lost", None, 8)],
        )
        insert(
            url,
            "INSERT INTO stats (device_id, timestamp, x, y, z) VALUES %s",
            [
                (1, "2024-05-01 10:00:00.5", 0.1, -1e300, 5e-324),
                (1, "2024-05-01 10:00:01", 0.2, 1e300, -0.0),
                (1, "2024-05-01 10:00:01", 0.2, 1e300, -0.0),
                (4, "2025-05-01 10:00:01", 1, 2, 3),
                (1, "2024-05-01 10:00:01", float("nan"), 0, 0),
                (1, "2024-05-01 10:00:01", 0, float("-inf"), 0),
                (3, "2024-05-01 10:00:01", 0, 0, 0),
                (1, "-infinity", 0, 0, 0),
            ],
        )
        yield url


@pytest.fixture(scope="module")
def product(start_product: StartProduct, personal_databases: PersonalDatabases) -> Product:
    """Both services, with personal data."""
    return start_product(env=personal_databases.environment)


@pytest.fixture(scope="module")
def env(product: Product, personal_databases: PersonalDatabases) -> dict[str, str]:
    """What the command reads."""
    return product.database.writer_env | personal_databases.environment | FOR_EVER


@pytest.fixture(scope="module")
def project(env: dict[str, str], old: str) -> str:
    """A project into which everything was imported, by a run that said the same as a dry run before it."""
    key = run_command(env, "create-project", "Devices").strip()
    dry = run_command(env, *SYSTEM, "--project", key, "--dry-run", old)
    real = run_command(env, *SYSTEM, "--project", key, old)
    assert dry.removesuffix("nothing was stored: this was a dry run\n") == real
    for line in (
        "users: 3 rows = 1 registered + 0 duplicate + 2 refused",
        "1 refused: username: must not be blank",
        "1 refused: another person has this e-mail address",
        "devices: 4 rows = 3 registered + 0 duplicate + 1 refused",
        "1 devices have no user",
        "stats: 8 rows = 4 registered + 0 duplicate + 4 refused",
        "1 refused: its device was not imported",
        "1 refused: x: must be a finite number",
    ):
        assert line in real
    return key


@pytest.fixture
def headers(project: str, env: dict[str, str]) -> dict[str, str]:
    """A key of the project."""
    return {"X-API-Key": run_command(env, "create-key", project, "test", "--scopes", "read,ingest,manage").strip()}


def test_a_user_answers_to_the_old_number(headers: dict[str, str], public: httpx2.Client) -> None:
    user = public.get("/api/v1/users/7", headers=headers).raise_for_status().json()
    assert (user["username"], user["email"]) == ("ана", "Ana@example.com")
    assert [each["device_id"] for each in user["devices"]] == ["sensor/1"]
    assert public.get(f"/api/v1/users/{user['id']}", headers=headers).json() == user
    assert public.get("/api/v1/users/8", headers=headers).status_code == 404
    changed = public.put("/api/v1/users/7", json={"username": "ana"}, headers=headers)
    assert (changed.status_code, changed.json()["id"]) == (200, user["id"])
    public.put("/api/v1/users/7", json={"username": "ана"}, headers=headers)


def test_both_analyses_are_those_of_the_old_rows(headers: dict[str, str], public: httpx2.Client) -> None:
    of_device = public.post("/api/v1/stats/devices/sensor%2F1/analyze", headers=headers).raise_for_status().json()
    assert of_device["x"] == {"min_value": 0.1, "max_value": 0.2, "count": 3, "sum": 0.5, "median": 0.2}
    assert of_device["y"]["sum"] == 1e300
    of_user = public.post("/api/v1/stats/users/7/analyze", headers=headers).raise_for_status().json()
    assert of_user["aggregate_stats"]["x"] == of_device["x"]
    assert [each["device_id"] for each in of_user["device_stats"]] == ["sensor/1"]
    assert public.post("/api/v1/stats/users/8/analyze", headers=headers).status_code == 404


def test_the_latest_measurement_is_shown(headers: dict[str, str], public: httpx2.Client) -> None:
    listed = {each["device_id"]: each for each in public.get("/api/v1/devices/", headers=headers).json()}
    assert listed["sensor/1"]["latest"] == {"x": 0.2, "y": 1e300, "z": 0.0, "timestamp": "2024-05-01T10:00:01Z"}
    assert listed["spare"]["name"] is None


def test_a_second_run_finds_everything(project: str, env: dict[str, str], old: str, product: Product) -> None:
    again = run_command(env, *SYSTEM, "--project", project, old)
    for line in ("users: 3 rows = 0 registered + 1", "devices: 4 rows = 0 registered + 3", "= 0 registered + 4 dup"):
        assert line in again
    assert rows(product.database, "SELECT count(*) FROM measurement") == [(4,)]
    assert "no drift" in run_command(product.database.writer_env, "verify-counts")


def test_numbers_of_two_installations_need_two_projects(project: str, env: dict[str, str], old: str) -> None:
    other = run_command(env, *SYSTEM, "--project", project, "--source-name", "other", "--dry-run", old)
    # The e-mail address is found first.
    assert "users: 3 rows = 0 registered + 0 duplicate + 3 refused" in other
